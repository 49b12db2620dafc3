"""Metrics of pyiqa, for which stands a module with its interface: pyiqa itself is not among dfsq's dependencies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfsq.errors import DfsqError, UsageError
from dfsq.evaluation import benchmarks
from dfsq.evaluation.evaluator import evaluate
from dfsq.evaluation.perceptual import metrics
from dfsq.images.files import read_image, write_png
from dfsq.model import SRModel


def data(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        image = np.kron(random.integers(0, 256, (8, 9, 3)), np.ones((6, 6, 1))).astype(np.uint8)
        (folder / "Set").mkdir(parents=True, exist_ok=True)
        write_png(folder / "Set" / f"{name}.png", image)
    return folder


def test_every_image_is_scored_on_the_pixels_of_psnr(
    pyiqa: list[Any], tmp_path: Path, plausible_model: SRModel
) -> None:
    root, chosen = data(tmp_path), metrics(["lpips", "niqe"])
    kept: list[Any] = []
    (found,) = evaluate(plausible_model, benchmarks.find_all(root, [], 2), on_image=kept.append, metrics=chosen)
    for image, own in zip(found.images, kept, strict=True):
        result, truth = (each[2:-2, 2:-2].astype(float) / 255 for each in (own.result, own.hr))
        assert image.metrics == pytest.approx({"lpips": np.abs(result - truth).mean(), "niqe": result.mean()}, rel=1e-4)
    for name in ("lpips", "niqe"):
        assert found.metrics[name] == pytest.approx(np.mean([each.metrics[name] for each in found.images]))
    assert {shape for each in pyiqa for shape in each.shapes} == {(1, 3, 44, 50)}
    (plain,) = evaluate(plausible_model, benchmarks.find_all(root, [], 2))
    assert plain.metrics == {} and plain.mean == found.mean


def test_names_and_devices(pyiqa: list[Any]) -> None:
    assert [(each.name, each.lower_better) for each in metrics(["LPIPS", "musiq", "LPIPS"])] == [
        ("lpips", True),
        ("musiq", False),
    ]
    assert [each.device for each in pyiqa] == ["cpu", "cpu"]
    assert metrics([]) == []


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("lpisp", UsageError, "pyiqa has no 'lpisp'; it has lpips, niqe, musiq, broken, fid"),
        ("fid", UsageError, "fid scores sets of images, not images"),
        ("offline", DfsqError, r"cannot make the metric offline \(no route to host\)"),
    ],
)
def test_metrics_that_cannot_be(pyiqa: list[Any], name: str, kind: type[DfsqError], message: str) -> None:
    with pytest.raises(kind, match=message):
        metrics([name])


def test_a_metric_that_fails(pyiqa: list[Any]) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(DfsqError, match=r"broken cannot be computed \(input must be larger than this\); leave it out$"):
        metrics(["broken"])[0](image, image)


@pytest.mark.parametrize("error", [ImportError("no torchvision"), RuntimeError("operator nms\ndoes not exist")])
def test_without_pyiqa(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception) -> None:
    (tmp_path / "pyiqa.py").write_text(f"raise {error!r}")
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        DfsqError, match="pip install pyiqa, if its licence, for non-commercial use, allows it"
    ) as raised:
        metrics(["lpips"])
    assert "\n" not in str(raised.value)


def test_images_may_be_flipped_in_memory(pyiqa: list[Any], tmp_path: Path) -> None:
    image = read_image(data(tmp_path) / "Set" / "a.png")
    (metric,) = metrics(["lpips"])
    assert metric(image[::-1], image[::-1]) == 0
