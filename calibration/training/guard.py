"""The images that training never sees, and what a model loses on them."""

from __future__ import annotations

from calibration.progress import Progress
from calibration.scoring import scored
from dfsq.evaluation.benchmarks import Benchmark
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

    def drop(self, model: SRModel) -> float:
        """Y-PSNR in full precision minus that of ``model``, dB, mean over the images."""
        return difference(self._full, self._scored(model, "Scoring")).psnr_y

    def _scored(self, model: SRModel, what: str) -> Scores:
        with compiled_quantizers(next(model.parameters()).device.type):
            return scored(model, self.held_out, what, self._progress).mean
