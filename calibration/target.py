"""Quantization within a drop: precision is raised where it hurts most, until a target holds on images set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from calibration.images import PatchStream
from calibration.ladder import Ladder, ladder, plan_after
from calibration.layers import LayerBits
from calibration.methods.planned import Planned
from calibration.methods.run import Calibration
from calibration.models import check_full_precision
from calibration.progress import Progress, silent
from calibration.recipes.recipe import Recipe
from calibration.scoring import scored
from calibration.search import least_that_holds
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.evaluation.benchmarks import Benchmark
from dfsq.evaluation.results import SetResult
from dfsq.model import Quantization, SRModel
from dfsq.nn import quantized_layers
from dfsq.plurals import counted
from dfsq.report.report import difference


@dataclass(frozen=True)
class Try:
    """One quantization."""

    steps: int
    """Of the ladder: each raises the precision of one layer."""
    drop: float
    """Y-PSNR in full precision minus that of the quantized model, dB, mean over the images set aside."""


@dataclass(frozen=True)
class Target:
    """What was asked for, and what came of it."""

    limit: float
    """Largest drop that was asked for, dB."""
    tries: tuple[Try, ...]
    """In the order they were made: the first with the recipe as it is."""
    taken: Try
    """The one that was kept: of those within the limit that with the fewest steps, else that with the least drop."""
    images: tuple[str, ...]
    """Names of the images set aside."""
    possible: int
    """Steps that there are."""
    raised: Mapping[str, tuple[LayerBits, LayerBits | None]]
    """Bits of the layers that were raised, by name, before and after; None: full precision."""

    @property
    def before(self) -> float:
        """Drop with the recipe as it is, dB."""
        return self.tries[0].drop

    @property
    def reached(self) -> bool:
        """Whether the drop is within the limit."""
        return self.taken.drop <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """What an artifact keeps: JSON types only."""
        return {
            "set_aside": list(self.images),
            "drop_before": self.before,
            "drop": self.taken.drop,
            "raised": {name: shown(after) for name, (_, after) in self.raised.items()},
        }


def shown(bits: LayerBits | None) -> str:
    """``W4A4``; ``W4`` where the input stays in full precision, ``full precision`` where all does."""
    if bits is None:
        return "full precision"
    return f"W{bits.w_bits}" + (f"A{bits.a_bits}" if bits.a_bits else "")


def check(recipe: Recipe, max_drop: float) -> Planned:
    """The ``recipe``, which takes a target. Raises :class:`UsageError` for one that does not, and for a target that is
    none."""
    if not isinstance(recipe, Planned):
        raise UsageError(f"`max_drop` goes by bits of layers; the method {recipe.method} takes no plan of them")
    if recipe.avg_bits is not None:
        raise UsageError("`max_drop` takes the bits that it needs, `avg_bits` those it is given; choose one of them")
    if not limits.TARGET.allow(max_drop):
        raise UsageError(f"`max_drop` is {max_drop}; choose {limits.TARGET}")
    return recipe


def quantize_within(
    model: SRModel,
    images: PatchStream | Iterable[Tensor],
    held_out: Benchmark,
    recipe: Recipe,
    max_drop: float,
    progress: Progress = silent,
) -> tuple[SRModel, Target]:
    """Quantize a full-precision ``model`` by ``recipe``, with the fewest layers raised that hold ``max_drop``.

    ``images`` are those of :func:`calibration.quantize`, and all held at once; ``held_out`` is a set that they are not
    from, see :func:`calibration.set_aside`. ``max_drop``, in 0–100 dB, limits the mean drop of Y-PSNR on it, by the
    protocol of :func:`dfsq.evaluate`. Layers are raised in the order of predicted help for its cost
    (:mod:`calibration.ladder`): by a bit at a time up to eight; of a recipe for engines, layers are left in full
    precision, up to half of the multiply-adds. Layers that ``layer_bits`` or ``skip`` name stay as they say.

    Returns the quantized model and what was changed. Where the target cannot be reached, that is the model with the
    least drop of those tried, all steps among them, and :attr:`Target.reached` is false. Several processes give what
    one gives. Raises what :func:`calibration.quantize` and :func:`dfsq.evaluate` raise, and :class:`UsageError` for a
    recipe with ``avg_bits``, a method that takes no plans, a ``max_drop`` out of range, and a network that takes no
    gradients.
    """
    planned = check(recipe, max_drop)
    check_full_precision(model)
    full = scored(model, held_out, "Full precision", progress)
    search = _Search(Calibration(model, images, planned, progress, hold=True), held_out, full, max_drop, progress)
    if search.drop_after(0) > max_drop:
        search.ladder = ladder(search.run, progress)
        least_that_holds(search.drop_after, max_drop, search.ladder.predicted)
    return search.result()


class _Search:
    """The tries made, and the best model of them."""

    def __init__(
        self, run: Calibration, held_out: Benchmark, full: SetResult, limit: float, progress: Progress
    ) -> None:
        self.run = run
        self.ladder = Ladder((), (0.0,))
        self._held_out = held_out
        self._full = full
        self._limit = limit
        self._progress = progress
        self._tries: list[Try] = []
        self._best: tuple[Try, SRModel] | None = None

    def drop_after(self, steps: int) -> float:
        """The drop with the first ``steps`` of the ladder, dB; whatever was tried is not tried again."""
        known = next((each for each in self._tries if each.steps == steps), None)
        if known is not None:
            return known.drop
        what = f"Try {len(self._tries) + 1}: {counted(steps, 'step')} up"

        def progress(_part: str, done: int, total: int, detail: str = "", share: float | None = None, /) -> None:
            self._progress(what, done, total, detail, share)

        model = self.run.quantized(plan_after(self.run.plan, self.ladder.steps[:steps]), progress)
        drop = difference(self._full.mean, scored(model, self._held_out, what, self._progress).mean).psnr_y
        made = Try(steps, drop)
        self._tries.append(made)
        if self._best is None or self._rank(made) < self._rank(self._best[0]):
            self._best = made, model
        return drop

    def _rank(self, made: Try) -> tuple[bool, float, float]:
        """Lower is better: the fewest steps that hold, else the least drop."""
        fails = made.drop > self._limit
        return (True, made.drop, made.steps) if fails else (False, made.steps, 0)

    def result(self) -> tuple[SRModel, Target]:
        """The best model, which tells of the target, and what came of it."""
        assert self._best is not None
        taken, model = self._best
        plan = self.run.plan
        names = list(dict.fromkeys(step.layer for step in self.ladder.steps[: taken.steps]))
        after = plan_after(plan, self.ladder.steps[: taken.steps])
        raised = {name: (plan[name], after.get(name)) for name in plan if name in names}
        images = tuple(pair.name for pair in self._held_out.pairs)
        target = Target(self._limit, tuple(self._tries), taken, images, len(self.ladder.steps), raised)
        quantization = model.quantization
        assert quantization is not None
        model.quantization = Quantization(
            {**quantization.recipe, "max_drop": self._limit, **_mean_bits(model)},
            {**quantization.calibration, **target.to_dict()},
        )
        return model, target


def _mean_bits(model: SRModel) -> dict[str, float]:
    """What the model is called by: bits of weights and inputs on average over the layers that have both, by weights."""
    found = [
        (layer.quantized_weight.codes.numel(), layer.quantized_weight.bits, layer.input_quantizer.bits)
        for _, layer in quantized_layers(model.net)
        if layer.input_quantizer is not None
    ]
    total = sum(size for size, _, _ in found)
    sides = {"mean_w_bits": 1, "mean_a_bits": 2}
    return {key: round(sum(each[0] * each[side] for each in found) / total, 2) for key, side in sides.items() if total}
