"""How far networks look, against what their kernels say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfsq.engines.reach import Reach, Run, find

conv = nn.Conv2d(3, 3, 7, padding=3, bias=False)


def in_squares(x: Tensor) -> Tensor:
    """Looks at squares of 4×4 that begin at multiples of four, and no further."""
    height, width = x.shape[2:]
    padded = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
    return (padded + F.interpolate(F.avg_pool2d(padded, 4), scale_factor=4))[:, :, :height, :width]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda x: x * 2, Reach(0, 1)),
        (conv, Reach(3, 1)),
        (lambda x: conv(conv(x)), Reach(6, 1)),
        (lambda x: F.conv2d(x, torch.ones(3, 1, 5, 1), padding=(2, 0), groups=3), Reach(2, 1)),
        (in_squares, Reach(4, 4)),
        (lambda x: x + x.mean((2, 3), keepdim=True), None),
        (lambda x: conv(x) + x.amax(), None),
        (lambda x: x + F.interpolate(F.avg_pool2d(x, 4, 3), size=x.shape[2:], mode="bilinear"), None),
    ],
)
def test_reach(network: Run, expected: Reach | None) -> None:
    assert find(network, 1, network) == expected
    roughly = find(network, 1)
    if expected is None:
        assert roughly is None
    else:
        assert roughly is not None
        assert (roughly.step, roughly.overlap >= expected.overlap) == (expected.step, True)
