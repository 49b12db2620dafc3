"""Weights in units of their columns, as calibration chooses them."""

import pytest
import torch
from torch import nn

from calibration import recipe
from calibration.layers import LayerBits, make_weight
from calibration.weights import column_steps
from dfsq.quantizers.weights import ColumnScaledWeight, UniformWeight, scales_of


def uneven(rows: int = 32) -> torch.Tensor:
    """A weight whose columns and rows are of different sizes."""
    generator = torch.Generator().manual_seed(rows)
    columns = 2.0 ** torch.randint(-4, 1, (64, 3, 3), generator=generator)
    return torch.randn(rows, 64, 3, 3, generator=generator) * columns * torch.rand(rows, 1, 1, 1, generator=generator)


def test_scales_are_the_columns_root_mean_squares() -> None:
    weight = uneven(5000)
    steps = column_steps(weight)
    assert steps is not None
    generator = torch.Generator().manual_seed(5000)
    columns = 2.0 ** torch.randint(-4, 1, (64, 3, 3), generator=generator)
    assert torch.equal(scales_of(steps), (columns / columns.max()).flatten())


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_a_large_row_counts_no_more_than_others(size: float) -> None:
    weight = uneven()
    steps = column_steps(weight)
    weight[5] *= size
    assert torch.equal(column_steps(weight), steps)  # type: ignore[arg-type]


def test_few_rows_and_no_weights_have_no_scales() -> None:
    assert column_steps(uneven(15)) is None
    assert column_steps(torch.zeros(16, 4, 1, 1)) is None
    one_column = torch.zeros(16, 4, 1, 1)
    one_column[:, 2] = 1
    assert column_steps(one_column).tolist() == [63, 63, 0, 63]  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["subset", "mse", "minmax"])
@pytest.mark.parametrize("bits", [2, 4, 6])
def test_uneven_columns_are_rounded_better(method: str, bits: int) -> None:
    weight, errors = uneven(), []
    for columns in (False, True):
        chosen = recipe("accurate", columns=columns, weights=method)
        found = make_weight(weight, LayerBits(bits, bits), chosen)  # type: ignore[arg-type]
        assert isinstance(found, ColumnScaledWeight) == columns
        errors.append((found.dequantize() - weight).square().sum())
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("layer", [nn.Linear(12, 16), nn.Conv2d(12, 16, 3, groups=4), nn.Conv2d(16, 16, 3, groups=16)])
def test_every_kind_of_layer(layer: nn.Linear | nn.Conv2d) -> None:
    found = make_weight(layer.weight, LayerBits(7, 7), recipe("accurate"))  # type: ignore[arg-type]
    assert isinstance(found, ColumnScaledWeight)
    torch.testing.assert_close(found.dequantize(), layer.weight.detach(), rtol=0, atol=0.02)


def test_eight_bits_do_without() -> None:
    chosen = recipe("accurate")
    kinds = [type(make_weight(uneven(), LayerBits(bits, 8), chosen)) for bits in (7, 8)]  # type: ignore[arg-type]
    assert kinds == [ColumnScaledWeight, UniformWeight]


def test_recipes_that_have_them() -> None:
    assert [recipe(name).columns for name in ("accurate", "fast", "trained")] == [True] * 3  # type: ignore[attr-defined]
    for name in ("paper", "minmax", "log2", "mse-channel", "int8"):
        assert not recipe(name).columns  # type: ignore[attr-defined]
