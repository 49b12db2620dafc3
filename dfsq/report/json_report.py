"""The report as JSON: the form that machines read, unrounded, with a versioned schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dfsq.errors import UsageError
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.report.gates import Check
from dfsq.report.report import ModelReport, Report
from dfsq.version import __version__

SCHEMA = "dfsq-eval/1"


def to_json(report: Report, checks: Sequence[Check] = ()) -> str:
    """Render ``report`` and the gates' verdicts. Infinite scores become null, as JSON has no infinity."""
    document = {
        "schema": SCHEMA,
        "dfsq": __version__,
        "models": [_model(report, model) for model in report.models],
        "gates": [{**asdict(check), "passed": check.passed} for check in checks],
        **report.details,
    }
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Report:
    """Read back what :func:`to_json` wrote. Raises :class:`UsageError` for a file that is no such report."""
    try:
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise UsageError(f"{path} has schema {document['schema']!r}, this dfsq reads {SCHEMA}; write it again")
        return Report(tuple(_read_model(model) for model in document["models"]))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no report of dfsq eval --json; write it again") from error


def _model(report: Report, model: ModelReport) -> dict[str, Any]:
    sets = []
    for each in model.sets:
        drop = report.drop(model, each.name)
        sets.append(
            {
                "name": each.name,
                "lr": each.lr,
                **asdict(each.mean),
                "drop": None if drop is None else asdict(drop),
                "images": [{"name": image.name, **asdict(image.scores)} for image in each.images],
            }
        )
    return {
        "name": model.name,
        "network": model.network,
        "scale": model.scale,
        "w_bits": model.w_bits,
        "a_bits": model.a_bits,
        "bytes": model.size,
        "sets": sets,
    }


def _read_model(model: dict[str, Any]) -> ModelReport:
    sets = tuple(
        SetResult(each["name"], model["scale"], each["lr"] == "supplied", tuple(_read_images(each["images"])))
        for each in model["sets"]
    )
    return ModelReport(
        model["name"], model["network"], model["scale"], sets, model["w_bits"], model["a_bits"], model["bytes"]
    )


def _read_images(images: Iterable[dict[str, Any]]) -> Iterable[ImageResult]:
    for image in images:
        values = {key: math.inf if value is None else float(value) for key, value in image.items() if key != "name"}
        yield ImageResult(image["name"], Scores(**values))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
