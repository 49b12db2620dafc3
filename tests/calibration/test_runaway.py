"""Values that grow from layer to layer in the quantized network, and the ranges of those behind them."""

from typing import Any

import pytest
import torch
from torch import nn

from calibration import recipe
from calibration.given import Given
from calibration.layers import LayerBits
from calibration.methods.trained_network import FixedStart
from calibration.sequential import quantize_layer
from calibration.workers import Workers

X = torch.rand(2, 8, 24, 24, generator=torch.Generator().manual_seed(0))
METHODS = {
    "blocks": lambda: recipe("accurate"),
    "maps": lambda: recipe("accurate", block=None),
    "fixed": lambda: FixedStart(),
    "integers": lambda: recipe("int8"),
}


def quantized(method: str, y: torch.Tensor) -> Any:
    torch.manual_seed(1)
    layer = nn.Conv2d(8, 16, 3, padding=1)
    given = Given([[torch.cat([X, y])]], 1, Workers(torch.device("cpu")))
    rounding: Any = METHODS[method]()
    return quantize_layer(layer, given, LayerBits(8, 8), None, rounding, None)


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Root mean square of the difference, as a share of that of the other."""
    return float((one - other).norm() / other.norm())


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_ranges_do_not_go_along(method: str) -> None:
    y = X.clone()
    y[1] *= 1000
    inputs = quantized(method, y).input_quantizer
    assert float(inputs(y).abs().max()) < 7  # twice what full precision has, and three times that
    assert distance(inputs(X), X) < 0.04  # the other image has as many levels as before


@torch.no_grad()
@pytest.mark.parametrize("method", ["blocks", "maps", "fixed"])  # integers come in units of their own
def test_what_stays_within_twice_full_precision_is_as_it_is(method: str) -> None:
    y = X.clone()
    y[1, 0] = 1.9 * X[1, 0] / X[1, 0].max()
    inputs = quantized(method, y).input_quantizer
    assert distance(inputs(y), y) < 0.04
