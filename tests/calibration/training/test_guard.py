"""What a model loses on the images set aside: by hand, where images are exact, and where a model makes none."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import dfsq
from calibration.progress import silent
from calibration.training.guard import Guard
from dfsq.errors import ImageError, OutputError
from dfsq.evaluation.benchmarks import Benchmark, Pair
from dfsq.model import NetworkInfo, SRModel


class Repeats(torch.nn.Module):
    """Repeats pixels, brighter by ``more`` grey levels."""

    def __init__(self, more: float) -> None:
        super().__init__()
        self.more = torch.nn.Parameter(torch.tensor(more / 255))

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) + self.more


def model(more: float) -> SRModel:
    return SRModel(Repeats(more), NetworkInfo("repeats", {}, 2, 1.0), ())


def held_out(*names: str) -> Benchmark:
    """``flat`` is one colour, which repeated pixels give exactly; ``rough`` is not."""
    rough = np.random.default_rng(0).integers(60, 190, (40, 40, 3), dtype=np.uint8)
    images = {"flat": np.full((40, 40, 3), 90, np.uint8), "rough": rough}
    return Benchmark("some", 2, tuple(Pair(name, images[name], None) for name in names))


def test_images_that_full_precision_gets_exactly_do_not_count() -> None:
    both, rough = (Guard(model(0), held_out(*names), silent) for names in (("flat", "rough"), ("rough",)))
    drop = both.drop(model(9))
    assert drop == rough.drop(model(9)) > 0
    full, brighter = (dfsq.evaluate(model(more), [held_out("rough")])[0].mean.psnr_y for more in (0, 9))
    assert drop == full - brighter
    assert both.drop(model(0)) == 0


def test_an_image_that_the_quantized_model_alone_gets_exactly_counts_as_a_finite_gain() -> None:
    drop = Guard(model(9), held_out("flat", "rough"), silent).drop(model(0))
    assert -math.inf < drop < 0


def test_images_that_are_all_exact_tell_nothing() -> None:
    with pytest.raises(ImageError, match="gets all images set aside exactly"):
        Guard(model(0), held_out("flat", "flat"), silent)


def test_a_model_without_finite_output_loses_everything() -> None:
    assert Guard(model(0), held_out("rough"), silent).drop(model(math.nan)) == math.inf
    with pytest.raises(OutputError, match="in full precision is not finite"):
        Guard(model(math.inf), held_out("rough"), silent)
