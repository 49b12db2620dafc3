"""The inference form of the gate, by hand and by properties."""

import math
from collections.abc import Callable

import pytest
import torch

from dfsq.nn import BoundsQuantizer, Gate
from dfsq.nn.gate import HIDDEN, channel_means
from dfsq.quantizers.stored import Stored

MakeGate = Callable[[int], Gate]


def test_a_worked_example() -> None:
    first = torch.zeros(HIDDEN, 3, dtype=torch.int8)
    first[0], first[1] = torch.tensor([1, 0, -1]), torch.tensor([1, 1, 1])
    second = torch.zeros(2, HIDDEN, dtype=torch.int8)
    second[0, 0], second[1, 1] = 1, -1
    gate = Gate(first, second, torch.tensor([2.0, 0.5]), torch.full((HIDDEN,), 0.5), torch.zeros(HIDDEN))
    # Means 3, 1.2, 0: steps of 1 between 0 and 3 make 3, 1, 0. Times ±2: 6 and 8; halved 3 and 4, the others 0.
    # Steps of 4/3 up to 4: 8/3 and 4. Times ±0.5: 4/3 and −2.
    found = gate(torch.tensor([[3.0, 1.2, 0.0]]))
    expected = [2 / (1 + math.exp(-4 / 3)), 2 / (1 + math.exp(2))]
    torch.testing.assert_close(found, torch.tensor([expected]))


@pytest.mark.parametrize("shape", [(5, 7, 12, 10), (5, 7, 33)])
def test_a_batch_is_its_samples_alone(make_gate: MakeGate, shape: tuple[int, ...]) -> None:
    axis = 1 if len(shape) == 4 else -1
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    if axis == 1:
        x = x.contiguous(memory_format=torch.channels_last)
    quantizer = BoundsQuantizer(-1.0, 1.5, 2, make_gate(shape[axis]), axis)
    together = quantizer(x)
    assert torch.equal(together, torch.cat([quantizer(each) for each in x.split(1)]))
    assert torch.equal(together, torch.cat([quantizer(each) for each in x.split(2)]))
    assert len(quantizer.gate(channel_means(x, axis)).unique()) > 2  # the gate does something


def test_zero_logits_are_no_gate(make_gate: MakeGate) -> None:
    x = torch.randn(3, 4, 9, 9, generator=torch.Generator().manual_seed(5))
    gate = make_gate(4)
    gate.second.zero_()
    assert torch.equal(gate(channel_means(x, 1)), torch.ones(3, 2))
    assert torch.equal(BoundsQuantizer(-0.7, 1.1, 3, gate)(x), BoundsQuantizer(-0.7, 1.1, 3)(x))


@pytest.mark.parametrize("value", [0.0, 2.5, -1e-3])
def test_constant_inputs_are_numbers(make_gate: MakeGate, value: float) -> None:
    x = torch.full((2, 4, 5, 5), value)
    quantizer = BoundsQuantizer(-1.0, 1.0, 2, make_gate(4))
    assert quantizer.gate(channel_means(x, 1)).isfinite().all()
    assert quantizer(x).isfinite().all()


def test_factors_that_cross_the_bounds_leave_the_upper_one() -> None:
    first, second = torch.zeros(HIDDEN, 2, dtype=torch.int8), torch.zeros(2, HIDDEN, dtype=torch.int8)
    second[0, 0], second[1, 0] = -1, 1  # the upper bound down, the lower one up
    gate = Gate(first, second, torch.tensor([1.0, 2.0]), torch.ones(HIDDEN), torch.ones(HIDDEN))
    x = torch.linspace(-4, 4, 50).view(1, 2, 5, 5)
    found = BoundsQuantizer(1.0, 1.25, 2, gate)(x)
    torch.testing.assert_close(found, torch.full_like(x, 1.25 * 2 / (1 + math.exp(2))))


def test_it_is_restored_to_the_bit_and_takes_two_bits_a_weight(make_gate: MakeGate) -> None:
    gate = make_gate(13)
    tensors = gate.to_tensors()
    assert tensors["gate.first"].shape == (HIDDEN * 13 // 4,)
    restored = Gate.from_stored(Stored(tensors, Gate.SUFFIXES), 13)
    means = torch.randn(6, 13, generator=torch.Generator().manual_seed(1))
    assert torch.equal(restored(means), gate(means))
