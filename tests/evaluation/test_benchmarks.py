from pathlib import Path

import numpy as np
import pytest

from dfsq.errors import ImageError, UsageError
from dfsq.evaluation import benchmarks, samples
from dfsq.evaluation.bicubic import downscale
from dfsq.images.files import write_png

RANDOM = np.random.default_rng(0)
HR = RANDOM.integers(0, 256, (33, 40, 3), dtype=np.uint8)
LR = RANDOM.integers(0, 256, (16, 20, 3), dtype=np.uint8)


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, image)


LAYOUTS = {
    "EDSR-PyTorch": ("HR/{}.png", "LR_bicubic/X2/{}x2.png"),
    "BasicSR": ("GTmod12/{}.png", "LRbicx2/{}.png"),
    "SelfExSR": ("image_SRF_2/{}_SRF_2_HR.png", "image_SRF_2/{}_SRF_2_LR.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parent", ["", "benchmark"])
def test_layouts(tmp_path: Path, layout: str, parent: str) -> None:
    folder = tmp_path / parent / "Set5"
    for name in ("img_2", "img_10"):
        put(folder / LAYOUTS[layout][0].format(name), HR)
        put(folder / LAYOUTS[layout][1].format(name), LR)
    found = benchmarks.find(tmp_path, "set5", 2)
    assert (found.name, found.lr_supplied) == ("Set5", True)
    assert [pair.name for pair in found.pairs] == ["img_2", "img_10"]
    lr, hr = found.pairs[0].read(2)
    assert np.array_equal(lr, LR)
    assert np.array_equal(hr, HR[:32])


def test_lr_is_made_by_matlab_bicubic_where_there_is_none(tmp_path: Path) -> None:
    put(tmp_path / "Mine" / "a.png", HR)
    found = benchmarks.find(tmp_path, "Mine", 4)
    assert not found.lr_supplied
    lr, hr = found.pairs[0].read(4)
    assert np.array_equal(lr, downscale(HR[:32], 4))
    assert hr.shape == (32, 40, 3)


def test_lr_of_another_scale_is_not_taken(tmp_path: Path) -> None:
    put(tmp_path / "Set5" / "HR" / "a.png", HR)
    put(tmp_path / "Set5" / "LR_bicubic" / "X2" / "ax2.png", LR)
    assert not benchmarks.find(tmp_path, "Set5", 3).lr_supplied


def test_folders_of_ones_own(tmp_path: Path) -> None:
    put(tmp_path / "high" / "a.png", HR)
    put(tmp_path / "low" / "a.png", LR)
    found = benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2)
    assert (found.name, found.lr_supplied) == ("high", True)
    assert np.array_equal(found.pairs[0].read(2)[0], LR)


def test_sizes_that_do_not_match_the_scale(tmp_path: Path) -> None:
    put(tmp_path / "high" / "a.png", HR)
    put(tmp_path / "low" / "a.png", LR[:-1])
    pair = benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2).pairs[0]
    with pytest.raises(ImageError, match="a: HR is 40×33 and LR 20×15; at ×2 LR must be 20×16"):
        pair.read(2)


def test_a_missing_lr_image_is_named(tmp_path: Path) -> None:
    put(tmp_path / "high" / "a.png", HR)
    put(tmp_path / "low" / "b.png", LR)
    with pytest.raises(ImageError, match=r"no LR image for .*a\.png in .*low; it would be called a\.png"):
        benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2)


def test_unknown_set_lists_what_there_is(tmp_path: Path) -> None:
    put(tmp_path / "Set5" / "HR" / "a.png", HR)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no set 'Set6' in .*; it has Set5$"):
        benchmarks.find(tmp_path, "Set6", 2)


def test_folders_that_do_not_exist_or_are_empty(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        benchmarks.find(tmp_path / "nowhere", "Set5", 2)
    with pytest.raises(UsageError, match="is not a folder"):
        benchmarks.from_folders(tmp_path / "nowhere", None, 2)
    with pytest.raises(ImageError, match="no images"):
        benchmarks.from_folders(tmp_path, None, 2)


def test_sample_photographs_share_no_pixel_between_calibration_and_evaluation() -> None:
    from sklearn.datasets import load_sample_image

    for name, left, pair in zip(samples.NAMES, samples.calibration_images(), samples.benchmark(2).pairs, strict=True):
        whole = load_sample_image(f"{name}.jpg")
        assert np.array_equal(np.concatenate([left, pair.hr], axis=1), whole)
