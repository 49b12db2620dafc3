"""The report as JSON: the form that machines read, unrounded, with a versioned schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from dfsq.engines.description import Description
from dfsq.errors import UsageError
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.files import read_small
from dfsq.limits import SCALE, Limits
from dfsq.report.finite import finite
from dfsq.report.gates import Check
from dfsq.report.report import ModelReport, Report
from dfsq.version import __version__

SCHEMA = "dfsq-eval/1"
_MOST_BYTES = 32_000_000
"""A line of a hundred bytes per model and image comes to far less."""
_PSNR, _SSIM, _ANY = Limits(-1000, 1000), Limits(-1, 1), Limits(-1e300, 1e300)


_REPORT = ("schema", "dfsq", "models", "gates")
"""Keys of a document; all others are details."""
_MODEL = (
    "name",
    "network",
    "scale",
    "w_bits",
    "a_bits",
    "bytes",
    "engine",
    "artifact",
    "multiply_adds",
    "seconds_per_megapixel",
    "sets",
)
"""Keys of a model; all others tell how it was identified."""


def to_json(report: Report, checks: Sequence[Check] = ()) -> str:
    """Render ``report`` and the gates' verdicts, in ASCII, which every terminal and every reader takes. Infinite scores
    become null, as JSON has no infinity."""
    document = {
        "schema": SCHEMA,
        "dfsq": __version__,
        "models": [_model(report, model) for model in report.models],
        "gates": [{**asdict(check), "passed": check.passed} for check in checks],
        **report.details,
    }
    return json.dumps(finite(document), indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> Report:
    """Read back what :func:`to_json` wrote: the same report, but for what it does not hold, the gates' verdicts.

    Raises :class:`UsageError` for a file that is no such report.
    """
    content = read_small(path, _MOST_BYTES, "report")
    try:
        document = _Reader(json.loads(content, parse_constant=_refuse))
        schema = document.text("schema")
        if schema != SCHEMA:
            raise UsageError(f"{path} has schema {schema[:60]!r}, this dfsq reads {SCHEMA}; write it again")
        models = tuple(_read_model(model) for model in document.objects("models"))
        _refuse_twice(models)
        return Report(models, document.rest(_REPORT))
    # A number may have more digits than Python converts, or a list be in a list in a list …
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError(f"{path} is no report of dfsq eval --json ({_reason(error)}); write it again") from error


def _model(report: Report, model: ModelReport) -> dict[str, Any]:
    known = {
        "artifact": model.artifact,
        "multiply_adds": model.multiply_adds,
        "seconds_per_megapixel": model.seconds,
    }
    sets = []
    for each in model.sets:
        drop = report.drop(model, each.name)
        sets.append(
            {
                "name": each.name,
                "lr": each.lr,
                **asdict(each.mean),
                "drop": None if drop is None else asdict(drop),
                **_metrics(each.metrics),
                "images": [
                    {"name": image.name, **asdict(image.scores), **_metrics(image.metrics)} for image in each.images
                ],
            }
        )
    return {
        "name": model.name,
        "network": model.network,
        "scale": model.scale,
        "w_bits": model.w_bits,
        "a_bits": model.a_bits,
        "bytes": model.size,
        "engine": None if model.engine is None else asdict(model.engine),
        **model.identified,
        **{key: value for key, value in known.items() if value is not None},
        "sets": sets,
    }


def _metrics(values: Mapping[str, float]) -> dict[str, Any]:
    """Nothing where none were asked for."""
    return {"metrics": dict(values)} if values else {}


class _Reader:
    """An object of a document, whose values are what they must be or raise."""

    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise TypeError("a list or value where an object belongs")
        self._values = values

    def text(self, key: str) -> str:
        value = self._values[key]
        if not isinstance(value, str):
            raise TypeError(f"{key} is no text")
        return value

    def number(self, key: str, allowed: Limits) -> float:
        value = self._values[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not allowed.allow(value):
            raise TypeError(f"{key} is no number from {allowed}")
        return value

    def number_or_null(self, key: str, allowed: Limits) -> float | None:
        return None if self._values[key] is None else self.number(key, allowed)

    def optional_number(self, key: str, allowed: Limits) -> float | None:
        """None where there is none."""
        return self.number(key, allowed) if key in self._values else None

    def texts(self, names: Iterable[str]) -> list[str]:
        return [self.text(name) for name in names]

    def object(self, key: str) -> _Reader | None:
        """None where it is null or, as in earlier versions, not there."""
        value = self._values.get(key)
        return None if value is None else _Reader(value)

    def rest(self, known: Sequence[str]) -> dict[str, Any]:
        """All other keys."""
        return {key: value for key, value in self._values.items() if key not in known}

    def objects(self, key: str) -> list[_Reader]:
        value = self._values[key]
        if not isinstance(value, list) or not value:
            raise TypeError(f"{key} is no list, or an empty one")
        return [_Reader(each) for each in value]


def _read_model(model: _Reader) -> ModelReport:
    scale = int(model.number("scale", SCALE))
    sets = tuple(
        SetResult(
            each.text("name"), scale, each.text("lr") == "supplied", tuple(map(_read_image, each.objects("images")))
        )
        for each in model.objects("sets")
    )
    _refuse_twice(sets)
    w_bits, a_bits = (model.number_or_null(key, Limits(1, 64)) for key in ("w_bits", "a_bits"))
    size = model.number_or_null("bytes", Limits(0, 2**63))
    engine, artifact, multiply_adds = map(model.object, ("engine", "artifact", "multiply_adds"))
    return ModelReport(
        name=model.text("name"),
        network=model.text("network"),
        scale=scale,
        sets=sets,
        w_bits=w_bits,
        a_bits=a_bits,
        size=None if size is None else int(size),
        engine=None if engine is None else Description(*engine.texts(each.name for each in fields(Description))),
        identified=_read_identified(model),
        artifact=None if artifact is None else artifact.rest(()),
        seconds=model.optional_number("seconds_per_megapixel", Limits(0, math.inf)),
        multiply_adds=None if multiply_adds is None else multiply_adds.rest(()),
    )


def _read_identified(model: _Reader) -> dict[str, Any]:
    """What says how a network was identified, if anything does."""
    identified = model.rest(_MODEL)
    if identified:
        found = model.object("found")
        if found is None:
            raise TypeError("found is null or missing")
        found.texts(found.rest(()))
        model.number("rgb_range", Limits(0, math.inf))
        model.number("channels", Limits(1, 3))
    return identified


def _read_image(image: _Reader) -> ImageResult:
    psnr_y, psnr_rgb = (image.number_or_null(key, _PSNR) for key in ("psnr_y", "psnr_rgb"))
    ssim_y, ssim_rgb = (image.number(key, _SSIM) for key in ("ssim_y", "ssim_rgb"))
    infinite = (math.inf if value is None else value for value in (psnr_y, psnr_rgb))
    scores = Scores(next(infinite), ssim_y, next(infinite), ssim_rgb)
    metrics = image.object("metrics")
    others = {} if metrics is None else {name: metrics.number(name, _ANY) for name in metrics.rest(())}
    return ImageResult(image.text("name"), scores, others)


def _refuse_twice(results: Sequence[ModelReport] | Sequence[SetResult]) -> None:
    names = [each.name for each in results]
    if len(set(names)) < len(names):
        raise ValueError("two models or sets of one name")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"no {error}"
    return str(error)[:100]
