"""Bounds as they are stored, and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dfsq.nn import BoundsQuantizer, Gate
from dfsq.nn.gate import HIDDEN
from dfsq.quantizers.universal import UniversalSet

MakeGate = Callable[[int], Gate]
C = 5
OTHERS: dict[str, Any] = {"signed": True, "bits": 2, "universal": UniversalSet(), "channel_axis": 1}


@pytest.fixture
def tensors(make_gate: MakeGate) -> dict[str, Tensor]:
    return BoundsQuantizer(-0.5, 2.0, 2, make_gate(C)).to_tensors()


@pytest.mark.parametrize("lower", [-0.75, 0.0, 0.25])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("with_gate", [False, True])
def test_restored_to_the_bit(make_gate: MakeGate, lower: float, bits: int, with_gate: bool) -> None:
    quantizer = BoundsQuantizer(lower, 2.3, bits, make_gate(C) if with_gate else None)
    others = {**OTHERS, "signed": lower < 0, "bits": bits}
    restored = BoundsQuantizer.from_tensors(quantizer.to_tensors(), C, **others)
    x = torch.randn(2, C, 8, 8, generator=torch.Generator().manual_seed(7)) * 2
    assert torch.equal(restored(x), quantizer(x))
    assert (restored.bits, restored.signed) == (quantizer.bits, quantizer.signed)


def test_nothing_is_in_a_state_dict(make_gate: MakeGate) -> None:
    assert not BoundsQuantizer(-0.5, 2.0, 2, make_gate(C)).state_dict()


DAMAGED: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "no lower bound": ({"lower": None}, "lower is missing"),
    "bounds out of order": ({"upper": torch.tensor(-0.6)}, "lower is -0.5 and upper -0.6; they must ascend"),
    "equal bounds": ({"upper": torch.tensor(-0.5)}, "must ascend"),
    "infinite": ({"upper": torch.tensor(math.inf)}, "upper has values that are not finite"),
    "no number": ({"lower": torch.tensor(math.nan)}, "lower has values that are not finite"),
    "too large": ({"upper": torch.tensor(1e31)}, "they must ascend, within"),
    "a bound of every channel": ({"upper": torch.ones(C)}, r"upper is torch.float32 of shape \(5,\)"),
    "float64": ({"upper": torch.tensor(1.0, dtype=torch.float64)}, "upper is torch.float64"),
    "not signed": ({"lower": torch.tensor(0.0)}, "lower is 0, but signed is true"),
    "half a gate": ({"gate.second": None}, "gate.second is missing"),
    "only a shift": ({f"gate.{n}": None for n in ("first", "second", "scale", "magnitudes")}, "gate.first is missing"),
    "another channel": ({"gate.first": torch.zeros(HIDDEN * 6 // 4, dtype=torch.uint8)}, "gate.first is"),
    "a fourth level": ({"gate.second": torch.full((16,), 255, dtype=torch.uint8)}, "gate.second has a code of 3"),
    "magnitudes below 0": ({"gate.magnitudes": -torch.ones(2)}, "magnitudes has a value of -1"),
    "one magnitude": ({"gate.magnitudes": torch.ones(1)}, "gate.magnitudes is"),
    "scale not finite": ({"gate.scale": torch.full((HIDDEN,), math.nan)}, "gate.scale has values that are not finite"),
    "scale shorter": ({"gate.scale": torch.ones(1)}, "gate.scale is"),
    "shift too large": ({"gate.shift": torch.full((HIDDEN,), 1e30)}, "gate.shift has a value of 1e"),
    "points": ({"points": torch.zeros(4)}, "no use for the tensor 'points'"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_cannot_be_is_refused(tensors: dict[str, Tensor], what: str) -> None:
    changes, said = DAMAGED[what]
    damaged = {name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None}
    with pytest.raises(ValueError, match=said):
        BoundsQuantizer.from_tensors(damaged, C, **OTHERS)
