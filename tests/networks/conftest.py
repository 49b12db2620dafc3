from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def spandrel() -> Any:
    """spandrel, also where torchvision was built for another torch and cannot register its operators."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        pytest.skip("torchvision is not installed; pip install 'dfsq[zoo]'")
    except RuntimeError:
        _define_missing_operators()
    return pytest.importorskip("spandrel")


def _define_missing_operators() -> ModuleType:
    from torch import library as operators

    library = operators.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    torchvision._operators_of_the_tests = library  # a definition lasts as long as its Library
    return torchvision
