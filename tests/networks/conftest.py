from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine the threads of small networks mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    torchvision._operators_of_the_tests = library  # a definition lasts as long as its Library
    return torchvision
