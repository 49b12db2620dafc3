"""Gates: limits that turn an evaluation into a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dfsq.errors import UsageError
from dfsq.report.report import Report


@dataclass(frozen=True)
class Check:
    """One limit applied to one model on one set. Values in dB, unrounded."""

    gate: str
    """``max-drop``, ``min-psnr`` or ``baseline``."""
    model: str
    set: str
    value: float
    """The drop, or the Y-PSNR for ``min-psnr``."""
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the limit holds; a value equal to it does."""
        return self.value >= self.limit if self.gate == "min-psnr" else self.value <= self.limit

    def __str__(self) -> str:
        """Which, and by how much."""
        what = {
            "max-drop": f"drop {self.value!r} dB, at most {self.limit!r}",
            "min-psnr": f"{self.value!r} dB, at least {self.limit!r}",
            "baseline": f"{self.value!r} dB below the baseline, at most {self.limit!r}",
        }[self.gate]
        verdict = "passed" if self.passed else f"failed by {abs(self.value - self.limit)!r} dB"
        return f"{self.gate} {verdict}: {self.model} on {self.set}: {what}"


def max_drop(report: Report, limit: float) -> list[Check]:
    """Drop of every model but the first on every set. Raises :class:`UsageError` where there is only one model."""
    if len(report.models) < 2:
        raise UsageError("--max-drop compares with the first model; name the full-precision model first, then another")
    checks = []
    for model in report.models[1:]:
        for each in model.sets:
            drop = report.drop(model, each.name)
            if drop is not None:
                checks.append(Check("max-drop", model.name, each.name, drop.psnr_y, limit))
    return checks


def min_psnr(report: Report, limits: Mapping[str, float]) -> list[Check]:
    """Y-PSNR of every model on the sets in ``limits``. Raises :class:`UsageError` for a set that was not evaluated."""
    checks = []
    for name, limit in limits.items():
        for model in report.models:
            result = next((each for each in model.sets if each.name.lower() == name.lower()), None)
            if result is None:
                sets = ", ".join(each.name for each in report.sets)
                raise UsageError(f"--min-psnr {name}: that set is not evaluated here; evaluated: {sets}")
            checks.append(Check("min-psnr", model.name, result.name, result.mean.psnr_y, limit))
    return checks


def against_baseline(report: Report, baseline: Report, tolerance: float) -> list[Check]:
    """Drop of every model against the model of the same name in an earlier report, on every set.

    Raises :class:`UsageError` for a model or set that the baseline does not have.
    """
    earlier = {model.name: model for model in baseline.models}
    checks = []
    for model in report.models:
        if model.name not in earlier:
            raise UsageError(f"--baseline has no model {model.name!r}; it has {', '.join(earlier)}")
        for each in model.sets:
            before = earlier[model.name].set(each.name)
            if before is None:
                raise UsageError(f"--baseline has no set {each.name!r} for {model.name}; write it again with this set")
            value, now = before.mean.psnr_y, each.mean.psnr_y
            checks.append(Check("baseline", model.name, each.name, 0.0 if value == now else value - now, tolerance))
    return checks
