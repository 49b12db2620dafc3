"""Gates: limits that turn an evaluation into a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfsq.errors import UsageError
from dfsq.evaluation.results import SetResult
from dfsq.printable import printable
from dfsq.report.report import ModelReport, Report, shown

SAME = 1e-6
"""Scores in dB that are this close are the same: another processor adds up in another order."""
_DIGITS = 3
_CLOSE = 0.01
"""Of a limit may be lost where it is printed."""
_MOST_DIGITS = 17
"""Of a float64 no more than these tell anything."""


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
        """Whether the limit holds; a value equal to it does, for ``baseline`` to 1e-6 dB."""
        if self.gate == "min-psnr":
            return self.value >= self.limit
        return self.value <= self.limit + (SAME if self.gate == "baseline" else 0)

    def __str__(self) -> str:
        """Which, and by how much, rounded for reading."""
        value, limit = _pair(self.value, self.limit, apart=not self.passed)
        what = {
            "max-drop": f"drop {value} dB, at most {limit}",
            "min-psnr": f"{value} dB, at least {limit}",
            "baseline": f"{value} dB below the baseline, at most {limit}",
        }[self.gate]
        verdict = "passed" if self.passed else f"failed by {_difference(abs(self.value - self.limit))} dB"
        return f"{self.gate} {verdict}: {printable(self.model)} on {printable(self.set)}: {what}"


def max_drop(report: Report, limit: float) -> list[Check]:
    """Drop of every model but the first on every set. Raises :class:`UsageError` where there is only one model."""
    if len(report.models) < 2:
        raise UsageError("max_drop compares with the first model; name the full-precision model first, then another")
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
                raise UsageError(f"min_psnr {name}: that set is not evaluated here; evaluated: {sets}")
            checks.append(Check("min-psnr", model.name, result.name, result.mean.psnr_y, limit))
    return checks


def against_baseline(report: Report, baseline: Report, tolerance: float) -> list[Check]:
    """Drop of every model against the model of the same name in an earlier report, on every set.

    Raises :class:`UsageError` for a model or set that the baseline does not have, or has at another scale, with other
    images, or with LR images made otherwise.
    """
    earlier = {model.name: model for model in baseline.models}
    checks = []
    for model in report.models:
        if model.name not in earlier:
            raise UsageError(f"the baseline has no model {model.name!r}; it has {', '.join(earlier)}")
        for each in model.sets:
            before = _same_set(each, earlier[model.name])
            value, now = before.mean.psnr_y, each.mean.psnr_y
            checks.append(Check("baseline", model.name, each.name, 0.0 if value == now else value - now, tolerance))
    return checks


def _same_set(now: SetResult, earlier: ModelReport) -> SetResult:
    """What ``earlier`` has on the very images of ``now``."""
    before = earlier.set(now.name)
    where = f"on {now.name!r} for {earlier.name}"
    remedy = "write the baseline again"
    if before is None:
        raise UsageError(f"the baseline has no set {now.name!r} for {earlier.name}; {remedy} with this set")
    if before.scale != now.scale:
        raise UsageError(f"the baseline is at ×{before.scale} {where}, this run at ×{now.scale}; {remedy}")
    if before.lr_supplied != now.lr_supplied:
        made = {True: "those of the set", False: "made by bicubic"}
        raise UsageError(
            f"the baseline's LR images {where} were {made[before.lr_supplied]}, now they are {made[now.lr_supplied]}; "
            f"evaluate on the same, or {remedy}"
        )
    names, known = (sorted(image.name for image in each.images) for each in (now, before))
    if names != known:
        other = f"it lacks {_listed(names, known)}, and has {_listed(known, names)}"
        raise UsageError(f"the baseline has other images {where}: {other}; {remedy}")
    return before


def _listed(names: Sequence[str], known: Sequence[str]) -> str:
    """The first few of ``names`` that are not ``known`` as often."""
    missing = list((Counter(names) - Counter(known)).elements())
    return ", ".join(missing[:3]) + f" and {len(missing) - 3} more" * (len(missing) > 3) or "no others"


def _pair(value: float, limit: float, apart: bool) -> tuple[str, str]:
    """Both to 0.001 dB, or to as many digits as the limit takes and as tell them ``apart``; the limit without zeros at
    its end."""
    digits = _DIGITS
    while digits < _MOST_DIGITS and (
        abs(limit - round(limit, digits)) > _CLOSE * abs(limit)
        or (apart and round(value, digits) == round(limit, digits))
    ):
        digits += 1
    told = shown(limit, digits)
    return shown(value, digits), told.rstrip("0").rstrip(".") if "." in told else told


def _difference(value: float) -> str:
    """To 0.001 dB, or to the first digit of what is less."""
    return f"{value:.1g}" if 0 < value < 0.0005 else shown(value, _DIGITS)
