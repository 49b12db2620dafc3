import pytest
import torch
from torch import nn

from dfsq.networks.bounded import Bounded

SHAPES = {f"{index}.weight": (8, 8, 3, 3) for index in range(10)}


def test_a_network_of_the_files_size_is_built() -> None:
    with Bounded(SHAPES):
        net = nn.Sequential(*(nn.Conv2d(8, 8, 3) for _ in range(10)))
    assert net(torch.zeros(1, 8, 30, 30)).shape == (1, 8, 10, 10)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_more_blocks_than_the_file_has_are_not_made(device: str) -> None:
    made = 0
    refused = pytest.raises(ValueError, match="claims more parameters than the 10 tensors")
    with refused, torch.device(device), Bounded(SHAPES):
        for made in range(10**9):  # noqa: B007
            nn.Conv2d(1, 1, 1)
    assert made < 1000


@pytest.mark.parametrize("size", [(10**6, 10**6), (2**20, 2**20)])
def test_more_values_than_the_file_has_are_not_allocated(size: tuple[int, ...]) -> None:
    with Bounded(SHAPES):
        for make in (torch.empty, torch.zeros, torch.ones, torch.randn, torch.eye):
            with pytest.raises(ValueError, match="claims more parameters"):
                make(*size)


@pytest.mark.parametrize("index", ["10000", "999999999", "9" * 5000, "１" * 5000])
def test_names_cannot_count_further_than_there_are_tensors(index: str) -> None:
    with pytest.raises(ValueError, match="a name counts to"):
        Bounded({**SHAPES, f"layers.{index}.weight": (1,)})


def test_later_tensors_are_free() -> None:
    with pytest.raises(ValueError, match="claims"), Bounded({}):
        torch.empty(10**9)
    assert torch.empty(10**9, device="meta").numel() == 10**9
