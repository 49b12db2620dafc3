from __future__ import annotations

from typing import Any

import pytest

from dfsq.networks.torchvision_operators import import_module


@pytest.fixture(scope="session")
def spandrel() -> Any:
    try:
        return import_module("spandrel")
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed; pip install 'dfsq[zoo]'")
