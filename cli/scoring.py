"""Finding benchmark sets, and evaluating models on them under a progress bar."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.console import note
from cli.progress import progress
from cli.shares import share_document
from dfsq.engines.registry import TORCH
from dfsq.plurals import counted

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.evaluation.evaluator import Upscaled
    from dfsq.evaluation.perceptual import Metric
    from dfsq.images.picture import Pixels
    from dfsq.model import SRModel
    from dfsq.report.report import ModelReport

OnImage = Callable[[str, "Upscaled"], None]
"""Called with the name of the model and each image it has upscaled."""


def find_sets(data: Path | None, sets: Sequence[str], scale: int, quiet: bool) -> list[Benchmark]:
    """The sets in ``data`` called ``sets``, or all, which are told; the sample photographs where ``data`` is None."""
    from dfsq.evaluation import benchmarks, samples

    if data is None:
        return [samples.benchmark(scale)]
    found = _noted(lambda: benchmarks.find_all(data, sets, scale), quiet)
    if not sets:
        each = ", ".join(f"{one.name} ({counted(len(one.pairs), 'image')})" for one in found)
        note(f"no --set: all of {data} are scored at ×{scale}: {each}", quiet)
    return found


def set_of_folders(hr: Path, lr: Path | None, scale: int, quiet: bool) -> list[Benchmark]:
    """The set of the images in ``hr`` and ``lr``."""
    from dfsq.evaluation import benchmarks

    return _noted(lambda: [benchmarks.from_folders(hr, lr, scale)], quiet)


def _noted(find: Callable[[], list[Benchmark]], quiet: bool) -> list[Benchmark]:
    from dfsq.errors import LayoutError, UsageError

    try:
        found = find()
    except LayoutError as error:
        folders = shlex.join(("--hr", str(error.hr), "--lr", str(error.lr)))
        raise UsageError(f"{error.problem}; name both, dfsq eval {folders}, or move {error.lr} away") from error
    for each in found:
        for line in each.notes:
            note(line, quiet)
    return found


def score_models(
    models: Sequence[tuple[str, SRModel | Engine, int | None]],
    benchmarks: Sequence[Benchmark],
    quiet: bool,
    on_image: OnImage = lambda name, image: None,
    metrics: Sequence[Metric] = (),
) -> tuple[ModelReport, ...]:
    """Evaluate models or engines, given with their names and file sizes in bytes, on every set."""
    from dfsq import evaluate
    from dfsq.engines.opening import as_engine
    from dfsq.evaluation.speed import seconds_per_megapixel
    from dfsq.report.report import ModelReport

    total = sum(len(each.pairs) for each in benchmarks)
    reports = []
    with progress(quiet) as advance:
        for name, model, size in models:
            done = 0
            last: Pixels | None = None

            def count(image: Upscaled, name: str = name) -> None:
                nonlocal done, last
                done, last = done + 1, image.lr
                advance(name, done, total)
                on_image(name, image)

            advance(name, 0, total)
            engine = as_engine(model, "evaluate")
            sets = evaluate(engine, benchmarks, on_image=count, metrics=metrics)
            in_engine = engine.description.engine != TORCH
            reports.append(
                ModelReport(
                    name,
                    engine.info.architecture,
                    engine.scale,
                    sets,
                    *engine.bits,
                    size,
                    engine.description,
                    engine.info.identified(),
                    seconds=seconds_per_megapixel(engine, last) if in_engine and last is not None else None,
                    multiply_adds=_multiply_adds(engine),
                )
            )
    return tuple(reports)


def _multiply_adds(engine: Engine) -> dict[str, Any] | None:
    """How those of a quantized network divide, where it is at hand."""
    from dfsq.networks.multiply_adds import of_model

    if engine.origin is None or engine.origin.quantization is None:
        return None
    return share_document(of_model(engine.origin))
