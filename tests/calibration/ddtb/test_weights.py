"""Weights between bounds that follow them."""

import numpy as np
import pytest
import torch

from calibration.ddtb import WeightRounding
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import BoundsWeight

WEIGHT = torch.randn(12, 10, 3, 3, generator=torch.Generator().manual_seed(5)) * 0.1


@pytest.mark.parametrize("percent", [99.0, None])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("shift", [0.0, 1.0, -0.6])
def test_frozen_decodes_to_the_bit_and_takes_no_more_than_its_bits(
    percent: float | None, bits: int, shift: float
) -> None:
    weight, rounding = WEIGHT + shift, WeightRounding(bits, percent)
    frozen = rounding.frozen(weight)
    assert torch.equal(frozen.dequantize(), rounding(weight))
    assert len(frozen.dequantize().unique()) <= 2**bits
    tensors = frozen.to_tensors()
    assert sum(each.nbytes for each in tensors.values()) <= (weight.numel() * bits + 7) // 8 + 8
    restored = BoundsWeight.from_tensors(tensors, tuple(weight.shape), bits, UniversalSet())
    assert torch.equal(restored.dequantize(), frozen.dequantize())
    assert torch.equal(restored.levels().gather(1, restored.codes.flatten(1).long()), restored.dequantize().flatten(1))


def test_bounds_are_percentiles_of_all_weights() -> None:
    found = torch.stack(WeightRounding(4, 99.0).bounds(WEIGHT)).numpy()
    np.testing.assert_allclose(found, np.percentile(WEIGHT.double().numpy(), [1, 99]), rtol=1e-6)
    assert WeightRounding(4, None).bounds(WEIGHT) == (WEIGHT.min(), WEIGHT.max())


def test_clipped_weights_get_no_gradient_and_others_all_of_it() -> None:
    weight = WEIGHT.clone().requires_grad_()
    WeightRounding(2, 99.0)(weight).sum().backward()
    low, high = np.percentile(WEIGHT.numpy(), [1, 99])
    expected = ((low <= WEIGHT) & (high >= WEIGHT)).float()
    assert 0 < (expected == 0).sum() < 0.03 * WEIGHT.numel()
    assert torch.equal(weight.grad, expected)
    weight.grad = None
    WeightRounding(2, None)(weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(WEIGHT))


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_equal_weights_are_kept(value: float) -> None:
    weight = torch.full((3, 4, 3, 3), value)
    frozen = WeightRounding(2, 99.0).frozen(weight)
    assert torch.equal(frozen.dequantize(), weight)
    assert torch.equal(
        BoundsWeight.from_tensors(frozen.to_tensors(), (3, 4, 3, 3), 2, UniversalSet()).levels(),
        torch.full((3, 4), value),
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lower": torch.tensor(1.0), "upper": torch.tensor(0.5)}, "upper has a value of 0.5; it must be at least 1"),
        ({"upper": torch.tensor(torch.inf)}, "upper has values that are not finite"),
        ({"lower": torch.tensor(-1e35)}, "lower has a value of -1e"),
        ({"lower": torch.zeros(12)}, "lower is torch.float32 of shape"),
        ({"codes": torch.zeros(3, dtype=torch.uint8)}, "codes is"),
        ({"scale": torch.ones(12)}, "no use for the tensor 'scale'"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, torch.Tensor], said: str) -> None:
    tensors = WeightRounding(2, 99.0).frozen(WEIGHT).to_tensors()
    with pytest.raises(ValueError, match=said):
        BoundsWeight.from_tensors({**tensors, **changes}, tuple(WEIGHT.shape), 2, UniversalSet())
