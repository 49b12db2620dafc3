"""What DDTB trains, made of a network and what its recipe says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from calibration.ddtb import dynamic, intensities, losses, published
from calibration.ddtb.maps import called, upsampler, with_maps
from calibration.ddtb.network import Student
from calibration.ddtb.weights import WeightRounding
from calibration.models import copied
from calibration.progress import Progress
from calibration.training.schedule import Group, Halved
from dfsq import distributed, limits
from dfsq.errors import UsageError
from dfsq.model import SRModel

if TYPE_CHECKING:
    from calibration.methods.ddtb import DDTB

_RATIO = {"edsr": 0.3, "rdn": 0.5, "srresnet": 0.1}
_OTHER_RATIO = 0.1
_PERCENT = {"rdn": 95.0}
_WEIGHT_PERCENT = {"rdn": 100.0}
_OTHER_PERCENT = 99.0
_RANGE = 255
"""Of the networks that the published rates are for."""


def start(recipe: DDTB, model: SRModel, patches: Sequence[Tensor], progress: Progress) -> Mapping[str, float]:
    """Intensity of all that is quantized, by name. Raises :class:`UsageError` where that is nothing."""
    activations = _activations(recipe, model, patches)
    if not activations:
        raise UsageError("no layer would be quantized: none is in body scope; name some by `body`")
    progress("Looking at activations", 0, 1)
    found = intensities(model, activations, patches)
    progress("Looking at activations", 1, 1)
    return found


def student(
    recipe: DDTB, model: SRModel, start: Mapping[str, float], patches: Sequence[Tensor], precision: torch.dtype
) -> Student:
    """The network that is trained, its bounds set. Raises :class:`UsageError` for a batch too small for gates."""
    architecture = model.info.architecture
    ratio = _RATIO.get(architecture, _OTHER_RATIO) if recipe.ratio is None else recipe.ratio
    percent = _PERCENT.get(architecture, _OTHER_PERCENT) if recipe.percent is None else recipe.percent
    clipped = (
        _WEIGHT_PERCENT.get(architecture, _OTHER_PERCENT) if recipe.weight_percent is None else recipe.weight_percent
    )
    gates = dynamic(start, ratio)
    processes = len(distributed.gather(None))
    if gates and recipe.batch < 2 * processes:
        raise UsageError(f"batch is {recipe.batch}; gates need at least 2 crops in each of {processes} processes")
    weights = {
        name: WeightRounding(bits, None if clipped == limits.PERCENT.most else clipped)
        for name, bits in _bits(recipe, model, called(model, patches[0][:1]), published(model).weights, recipe.w_bits)
    }
    activations = _activations(recipe, model, patches)
    student = Student(model, weights, activations, gates, percent, recipe.seed, precision)
    student.initialise(torch.cat(tuple(patches))[: recipe.batch])
    return student


def _activations(recipe: DDTB, model: SRModel, patches: Sequence[Tensor]) -> dict[str, int]:
    names = published(model).quantizers
    return dict(_bits(recipe, model, called(model, patches[0][:1]), names, recipe.a_bits))


def _bits(
    recipe: DDTB, model: SRModel, used: Mapping[str, object], names: Sequence[str], bits: int
) -> list[tuple[str, int]]:
    """Those of ``names`` that are quantized, as ``skip`` and ``layer_bits`` say."""
    known = (*published(model).quantizers, *published(model).weights)
    for pattern in (*recipe.skip, *(pattern for pattern, _ in recipe.layer_bits)):
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UsageError(f"pattern {pattern!r} matches nothing that DDTB quantizes, as {', '.join(known[:4])}")
    found = []
    for name in names:
        if name in used and not any(fnmatchcase(name, pattern) for pattern in recipe.skip):
            own = [number for pattern, number in recipe.layer_bits if fnmatchcase(name, pattern)]
            found.append((name, own[-1] if own else bits))
    return found


class TrainedBounds:
    """A network between trained bounds, as the loop takes it."""

    longest: float | None = None
    worst: float | None = None

    def __init__(self, model: SRModel, student: Student, patches: Sequence[Tensor], recipe: DDTB) -> None:
        """``model`` in full precision, which teaches where to attend."""
        self._teacher = copied(model).eval()
        self._upsampler = upsampler(model, patches[0][:1])
        self._student = student
        self._recipe = recipe
        self.module = student.module
        student.train(gated=False)
        rates = {False: recipe.rate, True: recipe.bound_rate * model.info.rgb_range / _RANGE}
        trained = list(student.parameters())
        self.groups = [
            Group([each for is_bound, each in trained if is_bound is kind], Halved(rate, recipe.interval))
            for kind, rate in rates.items()
        ]

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        """L1 to ``hr`` in grey levels, the attention loss, and during warm-up that of the gates."""
        assert hr is not None  # DDTB.needs_hr
        warming_up = step < self._recipe.gates_from
        self._student.train(gated=not warming_up)
        with torch.no_grad():
            _, aim = with_maps(self._teacher, self._upsampler, lr)
        logits: list[Tensor] = []
        handles = [
            gate.register_forward_hook(lambda _, inputs, output: logits.append(output)) for gate in self._student.gates
        ]
        try:
            output, maps = with_maps(self.module, self._upsampler, lr)
        finally:
            for handle in handles:
                handle.remove()
        self._student.share_statistics()
        loss = losses.grey_levels(output, hr) + self._recipe.attention * losses.attention_loss(maps, aim)
        return loss + losses.gate_loss(logits) if warming_up and logits else loss

    def frozen(self) -> SRModel:
        """The quantized model that it is now."""
        return self._student.frozen()
