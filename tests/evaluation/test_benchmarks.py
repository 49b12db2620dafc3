from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfsq.errors import ImageError, LayoutError, UsageError
from dfsq.evaluation import benchmarks, samples
from dfsq.evaluation.bicubic import downscale
from dfsq.evaluation.inventory import SCALES, SetAt, inventory
from dfsq.images.files import write_png

RANDOM = np.random.default_rng(0)
HR = RANDOM.integers(0, 256, (33, 40, 3), dtype=np.uint8)
LR = RANDOM.integers(0, 256, (16, 20, 3), dtype=np.uint8)


def put(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, image)  # whatever it is called: content counts


LAYOUTS = {
    "EDSR-PyTorch": ("Set5/HR/{}.png", "Set5/LR_bicubic/X2/{}x2.png"),
    "EDSR-PyTorch, no mark": ("Set5/HR/{}.png", "Set5/LR_bicubic/X2/{}.bmp"),
    "EDSR-PyTorch, flat": ("Set5/HR/{}.png", "Set5/LR_bicubic/{}.png"),
    "EDSR-PyTorch, another degradation": ("Set5/HR/{}.png", "Set5/LR_blur/x2/{}.png"),
    "other case": ("Set5/hr/{}.PNG", "Set5/lr_bicubic/x2/{}X2.PNG"),
    "BasicSR": ("Set5/GTmod12/{}.png", "Set5/LRbicx2/{}.png"),
    "BasicSR, marked": ("Set5/GTmod12/{}.png", "Set5/LRbicx2/{}x2.png"),
    "BasicSR, original": ("Set5/original/{}.png", "Set5/LRbicx2/{}.png"),
    "GT": ("Set5/GT/{}.png", "Set5/LR/{}.png"),
    "by scale": ("Set5/X2/HR/{}.png", "Set5/X2/LR/{}.png"),
    "by scale, inside": ("Set5/HR/x2/{}.png", "Set5/LR/x2/{}.png"),
    "by scale, in one word": ("Set5/HR_x2/{}.png", "Set5/LR_x2/{}.png"),
    "SelfExSR": ("Set5/image_SRF_2/{}_SRF_2_HR.png", "Set5/image_SRF_2/{}_SRF_2_LR.png"),
    "one folder": ("Set5/{}.png", "Set5/{}_LR.png"),
    "LR inside": ("Set5/{}.png", "Set5/LR/{}.png"),
    "LR beside": ("Set5/{}.png", "Set5_LR/x2/{}.png"),
    "RCAN": ("HR/Set5/x2/{}_HR_x2.png", "LR/LRBI/Set5/x2/{}_LRBI_x2.png"),
    "RCAN, plain": ("HR/Set5/{}.png", "LR/Set5/X2/{}.png"),
    "DIV2K": ("Set5_HR/{}.png", "Set5_LR_bicubic/X2/{}x2.png"),
    "DIV2K, x8": ("Set5_HR/{}.png", "Set5_LR_x2/{}x2.png"),
}
"""Where HR and LR images lie, and how they are named, at scale 2."""


def put_layout(root: Path, layout: str) -> None:
    for name in ("img_2", "img_10"):
        for pattern, image in zip(LAYOUTS[layout], (HR, LR), strict=True):
            put(root / pattern.format(name), image)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parent", ["", "benchmark"])
def test_layouts(tmp_path: Path, layout: str, parent: str) -> None:
    put_layout(tmp_path / parent, layout)
    (found,) = benchmarks.find_all(tmp_path, [], 2)
    assert (found.name, found.lr_supplied, found.notes) == ("Set5", True, ())
    assert [pair.name for pair in found.pairs] == ["img_2", "img_10"]
    lr, hr = found.pairs[0].read(2)
    assert np.array_equal(lr, LR)
    assert np.array_equal(hr, HR[:32])
    assert benchmarks.find(tmp_path, "SET5", 2) == benchmarks.find(tmp_path, "set5", 2) == found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_may_be_one_set_or_its_hr_folder(tmp_path: Path, layout: str) -> None:
    put_layout(tmp_path, layout)
    hr = (tmp_path / LAYOUTS[layout][0]).parent
    folder = hr
    while folder != tmp_path:
        (found,) = benchmarks.find_all(folder, [], 2)
        assert (found.name, found.lr_supplied) == ("Set5", True), folder
        folder = folder.parent


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lr_beside_hr_is_used_or_asked_about(tmp_path: Path, layout: str) -> None:
    put_layout(tmp_path, layout)
    hr, lr = ((tmp_path / pattern).parent for pattern in LAYOUTS[layout])
    if hr == lr:
        assert benchmarks.from_folders(hr, None, 2).lr_supplied
        return
    with pytest.raises(LayoutError) as raised:
        benchmarks.from_folders(hr, None, 2)
    assert (raised.value.hr, raised.value.lr) == (hr, lr)
    assert benchmarks.from_folders(hr, lr, 2).lr_supplied


@pytest.mark.parametrize(
    "hr, lr",
    [
        ("a", "a"),
        ("a", "ax2"),
        ("a", "aX2"),
        ("a", "a_x2"),
        ("a", "a-x2"),
        ("a", "a_2x"),
        ("a", "a_LR"),
        ("a", "a_lr_x2"),
        ("a", "a_bicLRx2"),
        ("a", "a_LRBI_x2"),
        ("a", "a_bicubic"),
        ("A", "a"),
        ("a_HR", "a_LR"),
        ("a_GT", "a"),
        ("a_HR", "a_HR"),
        ("a_x2_HR", "a_x2_LR"),
        ("a_x2", "a_x2"),
        ("ü", "u\u0308"),
        ("0801", "0801x2m"),
        ("photo2", "photo2x2"),
    ],
)
def test_names_of_pairs(tmp_path: Path, hr: str, lr: str) -> None:
    put(tmp_path / "high" / f"{hr}.png", HR)
    put(tmp_path / "high" / "b.png", HR)
    put(tmp_path / "low" / f"{lr}.PNG", LR)
    put(tmp_path / "low" / "b.bmp", LR)
    pairs = benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2).pairs
    assert {pair.hr.stem: pair.lr.stem for pair in pairs} == {hr: lr, "b": "b"}


@pytest.mark.parametrize(
    "files, message",
    [
        ("HR/a LR/a LR_blur/a", "lie in .*LR and .*LR_blur"),
        ("HR/a LR_bicubic/X2/a LR_unknown/X2/a", "lie in .*LR_bicubic/X2 and .*LR_unknown/X2"),
        ("HR/a LR_bicubic/X2/a LR/a", "lie in .*LR/?.* and .*LR_bicubic/X2"),
        ("HR/a LR/b/c/d/e/f/a", "LR lies beside .*HR and holds no images"),
        ("GT/a lrmystery/", "lrmystery lies beside .*GT and holds no images"),
        ("HR/a LR_bicubic/X2/", "LR_bicubic lies beside .*HR and holds no images"),
    ],
)
def test_lr_that_is_not_clear_is_asked_about(tmp_path: Path, files: str, message: str) -> None:
    for file in files.split():
        if file.endswith("/"):
            (tmp_path / "Set5" / file).mkdir(parents=True)
        else:
            put(tmp_path / "Set5" / f"{file}.png", HR if file == files.split()[0] else LR)
    with pytest.raises(LayoutError, match=f"{message}; name both folders, hr .* and lr .*, or move the latter away"):
        benchmarks.find(tmp_path, "Set5", 2)


def test_lr_of_several_scales_beside_each_other(tmp_path: Path) -> None:
    for scale in (2, 3, 4):
        size = (HR.shape[0] // scale, HR.shape[1] // scale)
        put(tmp_path / "A" / "HR" / "a.png", HR)
        put(tmp_path / "A" / "LR_bicubic" / f"X{scale}" / f"ax{scale}.png", np.full((*size, 3), scale, np.uint8))
        put(tmp_path / "B" / "GTmod12" / "a.png", HR)
        put(tmp_path / "B" / "original" / "a.png", HR)
        put(tmp_path / "B" / f"LRbicx{scale}" / "a.png", np.full((*size, 3), scale, np.uint8))
        put(tmp_path / "C" / "HR" / "a.png", HR)
        put(tmp_path / "C" / "LR" / f"a_x{scale}.png", np.full((*size, 3), scale, np.uint8))
        put(tmp_path / "HR" / "D" / f"x{scale}" / "a_HR.png", HR)
        put(tmp_path / "LR" / "LRBI" / "D" / f"x{scale}" / "a_LRBI.png", np.full((*size, 3), scale, np.uint8))
        put(tmp_path / "LR" / "LRBI" / "E" / f"x{scale}" / "a_LRBI.png", np.zeros((*size, 3), np.uint8))
    for scale in (2, 3, 4):
        found = benchmarks.find_all(tmp_path, [], scale)
        assert [each.name for each in found] == ["A", "B", "C", "D"]
        assert [each.pairs[0].read(scale)[0].max() for each in found] == [scale] * 4


def test_one_set_named_twice(tmp_path: Path) -> None:
    put_layout(tmp_path, "GT")
    assert [each.name for each in benchmarks.find_all(tmp_path, ["Set5", "SET5", "set5"], 2)] == ["Set5"]


def test_a_folder_of_images_is_a_set(tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png", HR)
    put(tmp_path / "photos" / "more" / "b.png", HR)
    (tmp_path / "photos" / "notes.txt").touch()
    found = benchmarks.find_all(tmp_path / "photos", [], 2)
    assert [(each.name, [pair.name for pair in each.pairs]) for each in found] == [("more", ["b"]), ("photos", ["a"])]
    assert found[1].notes == (f"{tmp_path}/photos: passed over 2 that are no images: more/, notes.txt",)


def test_images_of_one_stem_keep_their_suffixes(tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png", HR)
    put(tmp_path / "photos" / "a.bmp", HR)
    assert [pair.name for pair in benchmarks.from_folders(tmp_path / "photos", None, 2).pairs] == ["a.bmp", "a.png"]


def test_two_lr_images_for_one(tmp_path: Path) -> None:
    put(tmp_path / "high" / "a.png", HR)
    put(tmp_path / "low" / "a.png", LR)
    put(tmp_path / "low" / "ax2.png", LR)
    with pytest.raises(ImageError, match=r"two LR images for .*a\.png in .*low: a\.png and ax2\.png; take one away"):
        benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2)


def test_lr_images_without_hr_and_frames_are_noted(tmp_path: Path) -> None:
    put(tmp_path / "low" / "a.png", LR)
    put(tmp_path / "low" / "b.png", LR)
    (tmp_path / "high").mkdir()
    frames = [Image.fromarray(each) for each in (HR, 255 - HR)]
    frames[0].save(tmp_path / "high" / "a.tif", save_all=True, append_images=frames[1:])
    assert benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2).notes == (
        f"{tmp_path}/low: passed over 1 without an HR image: b.png",
        f"{tmp_path}/high/a.tif: the first of 2 frames or pages",
    )


@pytest.mark.parametrize("bad", ["high", "low"])
def test_an_unreadable_image_is_never_left_out(tmp_path: Path, bad: str) -> None:
    for folder, image in (("high", HR), ("low", LR)):
        for name in "ab":
            put(tmp_path / folder / f"{name}.png", image)
    (tmp_path / bad / "b.png").write_bytes(b"")
    with pytest.raises(ImageError, match=rf"{bad}/b\.png is no readable image"):
        benchmarks.from_folders(tmp_path / "high", tmp_path / "low", 2)


def test_a_set_of_other_scales(tmp_path: Path) -> None:
    put(tmp_path / "Set5" / "image_SRF_4" / "a_SRF_4_HR.png", HR)
    with pytest.raises(ImageError, match="no images at ×2 in the set Set5 of .*; its folders are for other scales"):
        benchmarks.find(tmp_path, "Set5", 2)


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
    with pytest.raises(UsageError, match=r"no set 'Set6' in .*; it has Set5; `dfsq data .*` tells more$"):
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


LAYOUT_NAMES = {"GT": "BasicSR", "other case": "EDSR-PyTorch", "one folder": "plain"}
LAYOUT_NAMES |= {"LR inside": "plain", "LR beside": "plain"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inventories_tell_what_an_evaluation_finds(tmp_path: Path, layout: str) -> None:
    put_layout(tmp_path, layout)
    (found,) = inventory(tmp_path)
    assert (found.name, found.problems) == ("Set5", {})
    assert found.layout == LAYOUT_NAMES.get(layout, layout.partition(",")[0])
    hr, lr = ((tmp_path / pattern).parent for pattern in LAYOUTS[layout])
    assert found.scales[2] == SetAt(2, hr, lr)
    for scale, at in found.scales.items():
        if scale != 2:
            assert at.lr is None
        assert benchmarks.find(tmp_path, "Set5", scale).lr_supplied == (scale == 2)


def test_inventories_tell_problems_and_images_alone(tmp_path: Path) -> None:
    put(tmp_path / "good" / "a.png", HR)
    put(tmp_path / "holes" / "HR" / "a.png", HR)
    put(tmp_path / "holes" / "HR" / "b.png", HR)
    put(tmp_path / "holes" / "LR" / "X2" / "a.png", LR)
    put(tmp_path / "twice" / "HR" / "a.png", HR)
    put(tmp_path / "twice" / "LR" / "a.png", LR)
    put(tmp_path / "twice" / "LR_blur" / "a.png", LR)
    good, holes, twice = inventory(tmp_path)
    assert {scale: (at.images, at.lr) for scale, at in good.scales.items()} == dict.fromkeys(SCALES, (1, None))
    assert good.problems == {}
    assert set(holes.problems) == {2}
    assert "no LR image for" in holes.problems[2] and "b.png" in holes.problems[2]
    assert (set(holes.scales), set(twice.scales)) == ({3, 4, 8}, set())
    assert all("lie in" in problem for problem in twice.problems.values())
    with pytest.raises(UsageError, match="no benchmark set in"):
        (tmp_path / "empty").mkdir()
        inventory(tmp_path / "empty")
