"""Which images a report shows."""

from __future__ import annotations

import numpy as np
import pytest

from cli.pictures import PICTURED, Gallery
from dfsq.evaluation.benchmarks import Image
from dfsq.evaluation.evaluator import Upscaled
from dfsq.evaluation.results import Scores
from dfsq.evaluation.upscaling import upscale_image
from dfsq.model import SRModel

DROPS = [0.1, 0.5, -0.2, 0.3, 0.4, 0.0]


def lr(index: int) -> Image:
    return np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def upscaled(index: int, result: Image, drop: float) -> Upscaled:
    name = "twice" if index < 2 else str(index)  # two of one name
    return Upscaled("set", name, lr(index), np.zeros((32, 32, 3), np.uint8), result, Scores(30 - drop, 0.9, 28, 0.8))


@pytest.mark.parametrize("kept", [0, 2, 6])
def test_the_images_that_lost_most_are_shown_and_made_again_where_they_were_not_kept(
    plausible_model: SRModel, kept: int
) -> None:
    results = [upscale_image(plausible_model, lr(index)) for index in range(len(DROPS))]
    gallery = Gallery("a", "b", room=kept * results[0].nbytes)
    for name in ("a", "unrelated", "b"):
        for index, drop in enumerate(DROPS):
            made = results[index] if name == "a" else results[index] ^ 1
            gallery.add(name, upscaled(index, made, drop if name == "b" else 0.0))
    found = gallery.findings(plausible_model, plausible_model)
    assert found["names"] == ("a", "b")
    assert (
        [round(each.drop, 9) for each in found["compared"]] == sorted(DROPS, reverse=True)[:PICTURED] == [0.5, 0.4, 0.3]
    )
    for each, index in zip(found["compared"], (1, 4, 3), strict=True):
        assert np.array_equal(each.first, results[index])
        assert np.array_equal(each.second, results[index] ^ 1)
