"""Pictures of an evaluation: the few that a report shows, and all of them as files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.naming import distinct, stems

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.evaluation.evaluator import Upscaled
    from dfsq.evaluation.results import Scores
    from dfsq.images.picture import Pixels
    from dfsq.model import SRModel
    from dfsq.report.compared import Compared
    from dfsq.report.signals import Signals

PICTURED = 3
"""Images that a report shows."""
_KEPT_BYTES = 128_000_000
"""A hundred images of an ordinary benchmark."""


class Gallery:
    """Keeps the images that lose most from one model to another, which upscales them later."""

    def __init__(self, first: str, second: str, room: int = _KEPT_BYTES) -> None:
        """``room``: bytes of results that are kept until the second model has its own; others are made again."""
        self.names = (first, second)
        self._first: dict[tuple[str, int], tuple[Scores, Pixels | None]] = {}
        self._room = room
        self._seen: Counter[tuple[str, str]] = Counter()
        self._worst: list[tuple[Compared, bool, Pixels]] = []

    def add(self, name: str, image: Upscaled) -> None:
        """Look at ``image`` of the model called ``name``."""
        from dfsq.report.compared import Compared

        if name not in self.names:
            return
        key = (image.set_name, self._seen[name, image.set_name])  # a set may have two images of one name
        self._seen[name, image.set_name] += 1
        if name == self.names[0]:
            kept = image.result.nbytes <= self._room
            self._room -= image.result.nbytes if kept else 0
            self._first[key] = (image.scores, image.result if kept else None)
            return
        scores, result = self._first.pop(key)
        self._room += 0 if result is None else result.nbytes
        known = image.hr if result is None else result
        pair = Compared(image.set_name, image.name, image.hr, known, image.result, (scores, image.scores))
        self._worst.append((pair, result is not None, image.lr))
        self._worst.sort(key=lambda each: -each[0].drop)
        del self._worst[PICTURED:]

    def findings(self, first: SRModel | Engine, last: SRModel | Engine) -> dict[str, Any]:
        """Fields of :class:`dfsq.report.findings.Findings`; the models are those of the two names."""
        from dfsq.engines.opening import as_engine

        one, other = as_engine(first, "upscale"), as_engine(last, "upscale")
        return {"compared": self._compared(one), "names": self.names, "signals": self._signals(one, other)}

    def _compared(self, first: Engine) -> list[Compared]:
        """The images, that which lost most first; what did not fit into memory is made again."""
        from dfsq.evaluation.upscaling import upscale_to_score

        return [
            pair if known else replace(pair, first=upscale_to_score(first, lr)[0]) for pair, known, lr in self._worst
        ]

    def _signals(self, first: Engine, last: Engine) -> Signals | None:
        """What happens inside ``last`` on the image that lost most; None where something else than torch runs it."""
        from dfsq.engines.torch import Torch
        from dfsq.evaluation.noise import signals

        if not self._worst or not isinstance(first, Torch) or not isinstance(last, Torch):
            return None
        pair, _, lr = self._worst[0]
        return signals(first.model, last.model, lr, f"{pair.set_name}: {pair.name}")


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
