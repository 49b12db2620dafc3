"""The check of an exported file: what it lets through, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import dfsq.export
from calibration import PatchStream, quantize, recipe
from dfsq.errors import DfsqError
from dfsq.evaluation.bicubic import downscale
from dfsq.evaluation.samples import calibration_images
from dfsq.export import metadata
from dfsq.export.check import check, pictures
from dfsq.export.restless import restless
from dfsq.model import SRModel

pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

Picture = NDArray[Any]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return {}


@pytest.fixture
def quantized(plausible_model: SRModel, made: dict[str, Any]) -> tuple[SRModel, dict[str, Any]]:
    if not made:
        patches = PatchStream(calibration_images(), scale=2, patches=2, patch_size=96)
        model = quantize(plausible_model, patches, recipe("int8", patches=2, patch_size=96))
        made.update(model=model, facts=metadata.read(dfsq.export.to_onnx(model)))
    return made["model"], made["facts"]


def judged(model: SRModel, facts: dict[str, Any], change: Callable[[Picture], Picture]) -> None:
    """Check an engine that gives what torch does, changed."""

    def run(images: Picture) -> Picture:
        with torch.no_grad():
            return change(model(torch.from_numpy(images)).numpy().copy())

    session: Any = SimpleNamespace(run=run, notes=())
    check(model, "engine", session, facts, lambda *_: None)


def blotch(picture: Picture) -> Picture:
    picture[..., 4:10, 4:10] += 40 / 255
    return picture


def wrong_where_small(picture: Picture) -> Picture:
    return picture * (0.5 if picture.shape[2] < 32 else 1.0)


WRONG: dict[str, Callable[[Picture], Picture]] = {
    "brighter by a level and a half": lambda picture: picture + 1.5 / 255,
    "darker by a fiftieth": lambda picture: picture * 0.98,
    "channels swapped": lambda picture: picture[:, ::-1],
    "shifted by a pixel": lambda picture: np.roll(picture, 1, 3),
    "a blotch": blotch,
    "small pictures": wrong_where_small,
    "nothing": lambda picture: picture * np.nan,
}


@pytest.mark.parametrize("name", WRONG)
def test_other_pictures_are_refused(name: str, quantized: tuple[SRModel, dict[str, Any]]) -> None:
    with pytest.raises(DfsqError, match="nothing was written"):
        judged(*quantized, WRONG[name])


def test_what_torch_gives_passes(quantized: tuple[SRModel, dict[str, Any]]) -> None:
    judged(*quantized, lambda picture: picture)


def test_other_orders_of_summation_pass(quantized: tuple[SRModel, dict[str, Any]]) -> None:
    model, facts = quantized

    def run(images: Picture) -> Picture:
        with torch.no_grad(), restless(model, 99):
            return model(torch.from_numpy(images)).numpy()

    session: Any = SimpleNamespace(run=run, notes=())
    check(model, "engine", session, facts, lambda *_: None)


@pytest.mark.parametrize(("every", "passes"), [(60, True), (10, False)])
def test_a_small_picture_may_have_what_is_usual_in_large_ones(
    quantized: tuple[SRModel, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, every: int, passes: bool
) -> None:
    """Of a few hundred values chance decides how many differ: none where torch is compared, many in an engine."""

    def off(picture: Tensor, every: int) -> Tensor:
        return torch.where(torch.arange(picture.numel()).view_as(picture) % every == 0, picture + 2 / 255, picture)

    def others(model: SRModel, images: Tensor, _facts: dict[str, Any]) -> Iterator[Tensor]:
        yield off(model(images).detach(), 50 if images.shape[2] >= 32 else 10**9)

    def engine(picture: Picture) -> Picture:
        small = picture.shape[2] < 32
        return off(torch.from_numpy(picture), every).numpy() if small else picture

    monkeypatch.setattr("dfsq.export.check._others", others)
    with nullcontext() if passes else pytest.raises(DfsqError, match="8×9.*nothing was written"):
        judged(*quantized, engine)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_pictures_come_with_their_photographs(scale: int) -> None:
    lr, hr = ((each * 255).round().byte().permute(0, 2, 3, 1).numpy() for each in pictures(2, 20, 30, scale))
    assert hr.shape == (2, 20 * scale, 30 * scale, 3)
    inside = np.s_[4:-4, 4:-4]  # beyond it the crop's border is another than the photograph's
    for small, large in zip(lr, hr, strict=True):
        assert np.array_equal(downscale(np.ascontiguousarray(large), scale)[inside], small[inside])
