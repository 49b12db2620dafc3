"""The images that training never sees, and what a model loses on them."""

from __future__ import annotations

from calibration.progress import Progress
from dfsq.evaluation.benchmarks import Benchmark
from dfsq.evaluation.evaluator import evaluate
from dfsq.evaluation.results import Scores
from dfsq.model import SRModel
from dfsq.report.report import difference
from dfsq.runtime import compiled_quantizers


class Guard:
    """Scores models on a set by the protocol of :func:`dfsq.evaluate`."""

    def __init__(self, model: SRModel, held_out: Benchmark, progress: Progress) -> None:
        """``model``: in full precision."""
        self.held_out = held_out
        self._progress = progress
        self._full = self._scored(model, "Full precision")

    def drop(self, model: SRModel, what: str) -> float:
        """Y-PSNR in full precision minus that of ``model``, dB, mean over the images; ``what`` it is, for progress."""
        return difference(self._full, self._scored(model, what)).psnr_y

    def _scored(self, model: SRModel, what: str) -> Scores:
        done = 0

        def count(_image: object) -> None:
            nonlocal done
            done += 1
            self._progress(what, done, len(self.held_out.pairs))

        self._progress(what, 0, len(self.held_out.pairs))
        with compiled_quantizers():
            (result,) = evaluate(model, [self.held_out], on_image=count)
        return result.mean
