from pathlib import Path

import numpy as np
import pytest
import torch

import dfsq
from dfsq.errors import DfsqError, ImageError, UsageError
from dfsq.evaluation.benchmarks import Benchmark, Pair
from dfsq.evaluation.evaluator import Upscaled
from dfsq.evaluation.metrics import score
from dfsq.evaluation.upscaling import upscale_image
from dfsq.model import SRModel

HR = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)


def test_scores_are_those_of_the_rounded_output(small_model: SRModel) -> None:
    seen: list[Upscaled] = []
    (result,) = dfsq.evaluate(small_model, [Benchmark("mine", 2, (Pair("a", HR, None),))], on_image=seen.append)
    with torch.inference_mode():
        x = torch.tensor(seen[0].lr).permute(2, 0, 1)[None] / 255
        y = (small_model(x)[0].permute(1, 2, 0).numpy() * 255).clip(0, 255).round().astype(np.uint8)
    assert np.array_equal(seen[0].result, y)
    assert result.images[0].scores == seen[0].scores == score(y, HR, 2)


def test_means_are_over_images(small_model: SRModel) -> None:
    pairs = (Pair("a", HR, None), Pair("b", HR[:, ::-1], None))
    (result,) = dfsq.evaluate(small_model, [Benchmark("mine", 2, pairs)])
    values = [image.scores.psnr_y for image in result.images]
    assert values[0] != values[1]
    assert result.mean.psnr_y == pytest.approx(sum(values) / 2)


def test_all_sets_of_a_folder_are_found(small_model: SRModel, tmp_path: Path) -> None:
    from dfsq.images.files import write_png

    for name in ("One", "Two"):
        (tmp_path / name).mkdir()
        write_png(tmp_path / name / "a.png", HR)
    assert [each.name for each in dfsq.evaluate(small_model, tmp_path)] == ["One", "Two"]
    assert [each.name for each in dfsq.evaluate(small_model, str(tmp_path), ["two"])] == ["Two"]


def test_refusals(small_model: SRModel) -> None:
    with pytest.raises(UsageError, match="the model upscales ×2, the set mine is for ×3"):
        dfsq.evaluate(small_model, [Benchmark("mine", 3, (Pair("a", HR, None),))])
    with pytest.raises(ImageError, match="smaller than 11×11; use larger images"):
        dfsq.evaluate(small_model, [Benchmark("mine", 2, (Pair("a", HR[:14], None),))])


def test_an_output_that_is_not_finite_is_no_score(small_model: SRModel) -> None:
    with torch.no_grad():
        next(small_model.parameters()).fill_(torch.nan)
    with pytest.raises(DfsqError, match="not finite"):
        upscale_image(small_model, HR)
