"""Evaluating models under a progress bar, and keeping a few pictures for the report."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import note
from cli.naming import distinct, stems
from cli.progress import progress

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.evaluation.evaluator import Upscaled
    from dfsq.model import SRModel
    from dfsq.report.pictures import Strip
    from dfsq.report.report import ModelReport

OnImage = Callable[[str, "Upscaled"], None]
"""Called with the name of the model and each image it has upscaled."""
STRIPS_PER_SET = 2


def find_sets(data: Path | None, sets: Sequence[str], scale: int, quiet: bool) -> list[Benchmark]:
    """The sets in ``data`` called ``sets``, or all; the sample photographs where ``data`` is None."""
    from dfsq.evaluation import benchmarks, samples

    if data is None:
        return [samples.benchmark(scale)]
    return _noted(lambda: benchmarks.find_all(data, sets, scale), quiet)


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
) -> tuple[ModelReport, ...]:
    """Evaluate models or engines, given with their names and file sizes in bytes, on every set."""
    from dfsq import evaluate
    from dfsq.engines.opening import as_engine
    from dfsq.report.report import ModelReport

    total = sum(len(each.pairs) for each in benchmarks)
    reports = []
    with progress(quiet) as advance:
        for name, model, size in models:
            done = 0

            def count(image: Upscaled, name: str = name) -> None:
                nonlocal done
                done += 1
                advance(name, done, total)
                on_image(name, image)

            advance(name, 0, total)
            engine = as_engine(model, "evaluate")
            sets = evaluate(engine, benchmarks, on_image=count)
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
                )
            )
    return tuple(reports)


class Gallery:
    """Keeps the first images of every set as two models upscale them."""

    def __init__(self, first: str, second: str) -> None:
        self._names = (first, second)
        self._images: dict[tuple[str, str], dict[str, Upscaled]] = {}

    def add(self, name: str, image: Upscaled) -> None:
        """Keep ``image`` of the model called ``name`` where there is room."""
        key = (image.set_name, image.name)
        kept = sum(set_name == image.set_name for set_name, _ in self._images)
        if name in self._names and (key in self._images or kept < STRIPS_PER_SET):
            self._images.setdefault(key, {})[name] = image

    def strips(self) -> list[Strip]:
        """The kept images side by side."""
        from dfsq.report.pictures import strip

        found = []
        for (set_name, image_name), versions in self._images.items():
            if len(versions) == 2:
                first, second = (versions[name] for name in self._names)
                captions = tuple(
                    f"{name}, {image.scores.psnr_y:.2f} dB"
                    for name, image in zip(self._names, (first, second), strict=True)
                )
                title = f"{set_name}: {image_name}"
                found.append(strip(title, first.lr, first.hr, first.result, second.result, (captions[0], captions[1])))
        return found


class ImageFolder:
    """Writes every upscaled image to ``FOLDER/MODEL/SET/NAME.png``, and none over another."""

    def __init__(self, folder: Path, models: Sequence[str], benchmarks: Sequence[Benchmark]) -> None:
        self._paths: defaultdict[tuple[str, str, str], list[Path]] = defaultdict(list)
        for model, place in zip(models, distinct(stems(models)), strict=True):
            for each, set_place in zip(benchmarks, distinct(each.name for each in benchmarks), strict=True):
                names = [pair.name for pair in each.pairs]
                for name, stem in zip(names, distinct(names), strict=True):
                    self._paths[model, each.name, name].append(folder / place / set_place / f"{stem}.png")

    @property
    def paths(self) -> list[Path]:
        """Files that are still to be written."""
        return [path for paths in self._paths.values() for path in paths]

    def add(self, name: str, image: Upscaled) -> None:
        """Write one image of the model ``name``. Raises :class:`~dfsq.errors.DfsqError` where that is impossible."""
        from dfsq.files import make_folder
        from dfsq.images.files import write_png

        path = self._paths[name, image.set_name, image.name].pop(0)
        make_folder(path.parent)
        write_png(path, image.result)
