"""DDTB (Zhong et al., ECCV 2022, arXiv 2203.03844): bounds, gates and the whole network trained against HR images.

As it is meant, not as its published code computes it: bounds start from percentiles at every width, gates look at one
sample at a time and are trained whole. That code takes the first 1000 of its 60 000 steps to look at extremes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import ClassVar, Self

import torch
from torch import Tensor

from calibration.ddtb import dynamic, intensities, losses, published
from calibration.ddtb.maps import called, upsampler, with_maps
from calibration.ddtb.network import Student
from calibration.ddtb.weights import WeightRounding
from calibration.methods.by_training import ByTraining
from calibration.models import copied
from calibration.progress import Progress
from calibration.recipes.choice import choice
from calibration.recipes.recipe import register
from calibration.training.schedule import Group, Halved
from dfsq import distributed, limits
from dfsq.errors import UsageError
from dfsq.model import SRModel

_RDN_CROP = {2: 32}
"""By scale; 24 for others."""
_RATIO = {"edsr": 0.3, "rdn": 0.5, "srresnet": 0.1}
_OTHER_RATIO = 0.1
_PERCENT = {"rdn": 95.0}
_WEIGHT_PERCENT = {"rdn": 100.0}
_OTHER_PERCENT = 99.0
_RANGE = 255
"""Of the networks that the published rates are for."""


@register
@dataclass(frozen=True, kw_only=True)
class DDTB(ByTraining):
    """Trained by Adam, rates halved at intervals; numbers are the published ones.

    Another ``steps`` leaves ``warm_up`` and ``halve_every`` as they are; :meth:`with_steps` shortens all in proportion.
    """

    method: ClassVar[str] = "ddtb"

    steps: int = choice(60_000, "of training", limits=limits.STEPS)
    batch: int = choice(16, "crops in a step, of all processes together", limits=limits.BATCH)
    crop_size: int | None = choice(  # type: ignore[assignment]
        None, "height and width of a crop, LR pixels; null: as published", limits=limits.PATCH_SIZE
    )
    warm_up: int = choice(4000, "steps in which gates learn to do nothing, not applied", limits=limits.STEPS)
    halve_every: int = choice(10_000, "steps after which rates are halved, again and again", limits=limits.STEPS)
    rate: float = choice(0.0001, "of all but bounds", limits=limits.RATE)
    bound_rate: float = choice(0.01, "of bounds, for a network in 0–255; others in proportion", limits=limits.RATE)
    ratio: float | None = choice(None, "share of quantizers with a gate; null: as published", limits=limits.SHARE)
    percent: float | None = choice(
        None, "percentile of activations where bounds start; null: as published", limits=limits.PERCENT
    )
    weight_percent: float | None = choice(
        None, "percentile where weights are clipped, 100: nowhere; null: as published", limits=limits.PERCENT
    )
    attention: float = choice(1000.0, "weight of this loss, beside 1 for grey levels", limits=limits.LOSS_WEIGHT)

    @property
    def needs_hr(self) -> bool:
        """That it does."""
        return True

    def phrase(self) -> str:
        """What the method does, in a few words."""
        return f"DDTB, trained for {self.steps} steps"

    def crop_for(self, model: SRModel) -> int:
        """Height and width of a crop for ``model``, LR pixels."""
        if self.crop_size is not None:
            return self.crop_size
        return _RDN_CROP.get(model.scale, 24) if model.info.architecture == "rdn" else 48

    def with_steps(self, steps: int) -> Self:
        """The same schedule in ``steps``."""
        share = steps / self.steps
        warm_up, halve_every = (max(1, round(each * share)) for each in (self.warm_up, self.halve_every))
        return replace(self, steps=steps, warm_up=warm_up, halve_every=halve_every)

    def start(self, model: SRModel, patches: Sequence[Tensor], progress: Progress) -> Mapping[str, float]:
        """Intensity of all that is quantized, by name. Raises :class:`UsageError` where that is nothing."""
        activations = self._activations(model, patches)
        if not activations:
            raise UsageError("no layer would be quantized: none is in body scope; name some by `body`")
        progress("Looking at activations", 0, 1)
        found = intensities(model, activations, patches)
        progress("Looking at activations", 1, 1)
        return found

    def trainable(
        self, model: SRModel, start: Mapping[str, float], patches: Sequence[Tensor], precision: torch.dtype
    ) -> TrainedBounds:
        """The network between trained bounds."""
        return TrainedBounds(model, self.student(model, start, patches, precision), patches, self)

    def student(
        self, model: SRModel, start: Mapping[str, float], patches: Sequence[Tensor], precision: torch.dtype
    ) -> Student:
        """The network that is trained, its bounds set. Raises :class:`UsageError` for a batch too small for gates."""
        architecture = model.info.architecture
        ratio = _RATIO.get(architecture, _OTHER_RATIO) if self.ratio is None else self.ratio
        percent = _PERCENT.get(architecture, _OTHER_PERCENT) if self.percent is None else self.percent
        clipped = (
            _WEIGHT_PERCENT.get(architecture, _OTHER_PERCENT) if self.weight_percent is None else self.weight_percent
        )
        gates = dynamic(start, ratio)
        processes = len(distributed.gather(None))
        if gates and self.batch < 2 * processes:
            raise UsageError(f"batch is {self.batch}; gates need at least 2 crops in each of {processes} processes")
        weights = {
            name: WeightRounding(bits, None if clipped == limits.PERCENT.most else clipped)
            for name, bits in self._bits(model, called(model, patches[0][:1]), published(model).weights, self.w_bits)
        }
        activations = self._activations(model, patches)
        student = Student(model, weights, activations, gates, percent, self.seed, precision)
        student.initialise(torch.cat(tuple(patches))[: self.batch])
        return student

    def _activations(self, model: SRModel, patches: Sequence[Tensor]) -> dict[str, int]:
        names = published(model).quantizers
        return dict(self._bits(model, called(model, patches[0][:1]), names, self.a_bits))

    def _bits(
        self, model: SRModel, used: Mapping[str, object], names: Sequence[str], bits: int
    ) -> list[tuple[str, int]]:
        """Those of ``names`` that are quantized, as ``skip`` and ``layer_bits`` say."""
        known = (*published(model).quantizers, *published(model).weights)
        for pattern in (*self.skip, *(pattern for pattern, _ in self.layer_bits)):
            if not any(fnmatchcase(name, pattern) for name in known):
                raise UsageError(f"pattern {pattern!r} matches nothing that DDTB quantizes, as {', '.join(known[:4])}")
        found = []
        for name in names:
            if name in used and not any(fnmatchcase(name, pattern) for pattern in self.skip):
                own = [number for pattern, number in self.layer_bits if fnmatchcase(name, pattern)]
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
            Group([each for is_bound, each in trained if is_bound is kind], Halved(rate, recipe.halve_every))
            for kind, rate in rates.items()
        ]

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        """L1 to ``hr`` in grey levels, the attention loss, and during warm-up that of the gates."""
        assert hr is not None  # DDTB.needs_hr
        warming_up = step < self._recipe.warm_up
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
