"""Scores of a model on the images set aside, with progress."""

from __future__ import annotations

from calibration.progress import Progress
from dfsq.evaluation.benchmarks import Benchmark
from dfsq.evaluation.evaluator import evaluate
from dfsq.evaluation.results import SetResult
from dfsq.model import SRModel


def scored(model: SRModel, held_out: Benchmark, what: str, progress: Progress) -> SetResult:
    """What :func:`dfsq.evaluate` finds of ``model`` on ``held_out``; ``what`` it is, for progress."""
    done = 0

    def count(_image: object) -> None:
        nonlocal done
        done += 1
        progress(what, done, len(held_out.pairs))

    progress(what, 0, len(held_out.pairs))
    (result,) = evaluate(model, [held_out], on_image=count)
    return result
