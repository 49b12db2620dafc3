"""What a target is judged on is nothing that patches are cut from."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from calibration import PatchStream, set_aside
from dfsq.errors import ImageError, UsageError
from dfsq.images.files import write_png


def photos(folder: Path, count: int, height: int = 40, width: int = 56) -> Path:
    """Images of one colour each: 0, 1, 2 …"""
    folder.mkdir(exist_ok=True)
    for index in range(count):
        write_png(folder / f"{index}.png", np.full((height, width, 3), index, np.uint8))
    return folder


def colours(images: list) -> set[int]:
    return {int(image.flat[0]) for image in images}


@pytest.mark.parametrize(("count", "expected"), [(4, 2), (9, 2), (20, 5), (60, 8)])
def test_patches_are_cut_from_other_files(tmp_path: Path, count: int, expected: int) -> None:
    folder = photos(tmp_path / "photos", count)
    rest, aside = set_aside([folder], scale=2, patch_size=32)
    assert len(aside.pairs) == expected
    assert aside.notes == (f"{expected} of {count} images, which no patches are cut from",)
    judged = colours([pair.hr for pair in aside.pairs])
    stream = PatchStream(rest, scale=1, patches=4 * count, patch_size=32)
    cut = {round(255 * float(patch.mean())) for batch in stream for patch in batch}
    assert judged | cut == set(range(count))
    assert not judged & cut


def test_the_seed_draws_and_nothing_else(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 30)
    drawn = [
        [pair.name for pair in set_aside([folder], scale=2, patch_size=32, seed=each)[1].pairs] for each in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_copy_of_what_is_set_aside_is_not_cut_from_either(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 8)
    for index in range(8):
        shutil.copy(folder / f"{index}.png", folder / f"copy{index}.png")
    rest, aside = set_aside([folder, folder / "1.png"], scale=2, patch_size=32)
    judged = colours([pair.hr for pair in aside.pairs])
    assert len(judged) == len(aside.pairs) == 4
    assert not judged & {int(re.sub(r"\D", "", Path(str(path)).stem)) for path in rest}


def test_few_images_are_halved_across_their_longer_side() -> None:
    image = np.arange(40 * 100 * 3, dtype=np.uint32).reshape(40, 100, 3)
    wide, tall = (np.mod(each, 251).astype(np.uint8) for each in (image, image.transpose(1, 0, 2)))
    rest, aside = set_aside([wide, tall], scale=2, patch_size=32)
    assert {each.shape for each in rest} == {(40, 50, 3), (50, 40, 3)}  # type: ignore[union-attr]
    halves = {each.tobytes() for each in (*rest, *(pair.hr for pair in aside.pairs))}  # type: ignore[union-attr]
    expected = {np.ascontiguousarray(each).tobytes() for each in (wide[:, :50], wide[:, 50:], tall[:50], tall[50:])}
    assert halves == expected
    assert "one half of each" in aside.notes[0]


def test_large_images_count_by_their_middle(tmp_path: Path) -> None:
    image = np.zeros((600, 700, 3), np.uint8)
    image[44:556, 94:606] = 200
    sources = [np.ascontiguousarray(image + each) for each in np.arange(4, dtype=np.uint8)]
    _, aside = set_aside(sources, scale=2)
    assert {pair.hr.shape for pair in aside.pairs} == {(512, 512, 3)}  # type: ignore[union-attr]
    assert all(pair.hr.min() >= 200 for pair in aside.pairs)  # type: ignore[union-attr]


def test_lr_images_serve_as_hr(tmp_path: Path) -> None:
    _, aside = set_aside([photos(tmp_path / "lr", 5)], scale=2, patch_size=64, is_lr=True)
    assert aside.pairs[0].read(2)[0].shape == (20, 28, 3)
    assert "LR" in aside.notes[1]


def test_what_cannot_be_used(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 6)
    for index in range(5):
        (folder / f"{index}.png").write_bytes(b"nothing")
    rest, aside = set_aside([folder], scale=2, patch_size=20)
    assert colours([*rest, aside.pairs[0].hr]) == {5}
    with pytest.raises(ImageError, match="too few to set any aside whole, and too small for halves of 32×32"):
        set_aside([folder], scale=2, patch_size=32)
    with pytest.raises(ImageError, match="none of the 6 calibration images is readable and at least 192×192"):
        set_aside([folder], scale=2)
    with pytest.raises(UsageError, match="does not exist"):
        set_aside([tmp_path / "nowhere"], scale=2)
