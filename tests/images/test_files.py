import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dfsq.errors import DfsqError
from dfsq.images.files import list_images, natural_order, read_image, scan, write_png

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def test_png_round_trip(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", COLOURS)
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(COLOURS).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(tmp_path / f"a.{suffix}"), COLOURS)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(COLOURS[:, :, 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(COLOURS[:, :, :1], 3, axis=2))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((6, 5, 1), 40, np.uint8)
    Image.fromarray(np.concatenate([COLOURS, alpha], axis=2)).save(tmp_path / "rgba.png")
    assert np.array_equal(read_image(tmp_path / "rgba.png"), COLOURS)


def test_sixteen_bits_are_reduced_to_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 65535], [128 * 257, 300, 1]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[:, :, 0].tolist() == [[0, 1, 255], [128, 1, 0]]


def test_palette_and_one_bit(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOURS).quantize(64)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    Image.fromarray(COLOURS[:, :, 0] > 128).save(tmp_path / "bits.png")
    assert np.array_equal(read_image(tmp_path / "bits.png")[:, :, 1], np.where(COLOURS[:, :, 0] > 128, 255, 0))


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    assert read_image(tmp_path / "red.tif").reshape(-1, 3).tolist() == [[255, 0, 0]] * 12


def test_list_is_in_natural_order_and_skips_other_files(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.PNG", "notes.txt", "img1.jpeg"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["img1.jpeg", "img2.PNG", "img10.png"]


def test_order_of_odd_names() -> None:
    # Digits of other scripts and superscripts are no numbers; what differs in case or zeros alone has one order.
    ordered = ["01.png", "1.png", "2.png", "10.png", "A2", "a2", "a10", "A.png", "a.png", "a²2", "a²10", "a٣", "²"]
    assert sorted(reversed(ordered), key=natural_order) == ordered


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_else_lies_in_a_folder(tmp_path: Path) -> None:
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "empty.png", "model.pth"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    write_png(tmp_path / "sub.png", COLOURS)
    (tmp_path / "sub.png").rename(tmp_path / "no suffix")
    (tmp_path / "link.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    listing = scan(tmp_path)
    # What is called an image is one, so that it cannot go missing in silence.
    assert [path.name for path in listing.images] == ["empty.png", "link.png", "no suffix", "pipe.png"]
    assert listing.others == ("folder.png/", "model.pth", "notes.txt", "pipe")
    assert listing.note == f"{tmp_path}: passed over 4 that are no images: folder.png/, model.pth, notes.txt, …"
    assert scan(tmp_path / "folder.png").note is None


def test_writing_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DfsqError, match="does not exist; create it first"):
        write_png(tmp_path / "nowhere" / "a.png", COLOURS)
