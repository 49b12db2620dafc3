"""The images that training never sees, and what a model loses on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from calibration.progress import Progress
from dfsq import distributed
from dfsq.engines.torch import Torch
from dfsq.errors import ImageError, OutputError
from dfsq.evaluation.benchmarks import Benchmark, Pair
from dfsq.evaluation.evaluator import evaluate
from dfsq.model import SRModel
from dfsq.runtime import compiled_quantizers

_EXACT = 100.0
"""What an image counts as, dB, that a quantized model gets exactly."""


class Guard:
    """Scores models on a set by the protocol of :func:`dfsq.evaluate`."""

    def __init__(self, model: SRModel, held_out: Benchmark, progress: Progress) -> None:
        """``model``: in full precision.

        Raises :class:`ImageError` where it gets all images exactly, :class:`OutputError` where its output is not
        finite, and what :func:`dfsq.evaluate` raises.
        """
        self.held_out = held_out
        self._progress = progress
        self._full = self._scores(model, "Full precision", held_out.pairs)
        if min(self._full) == -math.inf:
            raise OutputError("the network's output in full precision is not finite; its weights are damaged")
        if min(self._full) == math.inf:
            raise ImageError("full precision gets all images set aside exactly; give some that are not of one colour")

    def drop(self, model: SRModel) -> float:
        """Y-PSNR in full precision minus that of ``model``, dB, mean over the images that full precision does not get
        exactly; infinite for a model whose output is not finite."""
        pairs = [(full, pair) for full, pair in zip(self._full, self.held_out.pairs, strict=True) if full < math.inf]
        own = self._scores(model, "Scoring", [pair for _, pair in pairs])
        return fmean(full for full, _ in pairs) - fmean(min(each, _EXACT) for each in own)

    def _scores(self, model: SRModel, what: str, pairs: Sequence[Pair]) -> list[float]:
        """Y-PSNR of ``model`` on each of ``pairs``, minus infinity for one that is broken."""
        engine = Torch(model)

        def psnr(pair: Pair) -> float:
            try:
                (result,) = evaluate(engine, [replace(self.held_out, pairs=(pair,))])
            except OutputError:  # told as a number, for one process may find what the others wait to hear of
                return -math.inf
            return result.mean.psnr_y

        found: list[float] = []
        with compiled_quantizers(engine.device.type):
            for some in distributed.rounds(pairs):
                self._progress(what, len(found), len(pairs))
                found += distributed.share(some, psnr)
        self._progress(what, len(pairs), len(pairs))
        return found
