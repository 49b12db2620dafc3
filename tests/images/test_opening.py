"""Which files are opened as images, and how the others are refused: at once, in one line, by type."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from dfsq.errors import ImageError
from dfsq.images.files import read_image
from dfsq.images.opening import IMAGE_SUFFIXES, frames, is_image, open_image

RGB = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, kind)
    return stream.getvalue()


KINDS = ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM"]
KINDS += [kind for kind, feature in (("AVIF", "avif"), ("JPEG2000", "jpg_2000")) if features.check(feature)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a.jpg", "a.txt", "a"])
def test_content_counts_and_not_the_name(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(kind))
    assert is_image(tmp_path / name)
    assert read_image(tmp_path / name).shape == RGB.shape


def test_tga_has_no_mark_and_goes_by_its_name(tmp_path: Path) -> None:
    for name in ("a.tga", "A.TGA", "a.bin"):
        (tmp_path / name).write_bytes(encoded("TGA"))
    assert np.array_equal(read_image(tmp_path / "a.tga"), RGB)
    assert np.array_equal(read_image(tmp_path / "A.TGA"), RGB)
    assert not is_image(tmp_path / "a.bin")


@pytest.mark.parametrize("kind", ["EPS", "PCX", "ICO", "SGI", "DDS", "XBM", "MSP"])
def test_other_formats_reach_no_decoder(tmp_path: Path, kind: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(RGB).convert("1" if kind in ("XBM", "MSP") else "RGB").save(stream, kind)
    for suffix in (".png", f".{kind.lower()}"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(stream.getvalue())
        assert not is_image(path)
        with pytest.raises(ImageError, match=r"is no readable image \(PNG, JPEG, .* are read\); remove or replace it"):
            read_image(path)


DAMAGED = {
    **{f"empty{suffix}": b"" for suffix in IMAGE_SUFFIXES},
    **{f"text{suffix}": b"no image at all\n" * 9 for suffix in IMAGE_SUFFIXES},
    "cut.png": b"\x89PNG\r\n\x1a\n cut",
    **{f"{kind}-{share}": encoded(kind)[: int(len(encoded(kind)) * share)] for kind in KINDS for share in (0.1, 0.6)},
    **{f"TGA-{share}.tga": encoded("TGA")[: int(len(encoded("TGA")) * share)] for share in (0.001, 0.6)},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(ImageError, match=f"{name} is no readable image .*; remove or replace it") as raised:
        read_image(tmp_path / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_an_image_or_an_error(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(40):
        content = np.frombuffer(encoded(kind), np.uint8).copy()
        content[random.integers(0, len(content), 3)] ^= random.integers(1, 256, 3, dtype=np.uint8)
        (tmp_path / "a").write_bytes(content.tobytes())
        try:
            assert read_image(tmp_path / "a").shape[2] == 3
        except ImageError as error:
            assert "\n" not in str(error)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for a writer for ever
    for name, reason in (
        ("nowhere.png", "does not exist"),
        ("link.png", "does not exist"),
        ("folder.png", "is a folder; name an image file"),
        ("pipe.png", "is a pipe or a device; name an image file"),
    ):
        with pytest.raises(ImageError, match=f"{name} {reason}"):
            read_image(tmp_path / name)
        assert not is_image(tmp_path / name)
    with pytest.raises(ImageError, match="is a pipe or a device"):
        read_image(Path(os.devnull))


def test_images_too_large_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(b"P6 20000 20000 255\n")
    with pytest.raises(ImageError, match="bomb.png is too large to be read safely; crop it first"):
        read_image(tmp_path / "bomb.png")


def test_frames(tmp_path: Path) -> None:
    several = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    several[0].save(tmp_path / "a.gif", save_all=True, append_images=several[1:])
    several[0].save(tmp_path / "b.gif")
    assert (frames(tmp_path / "a.gif"), frames(tmp_path / "b.gif")) == (3, 1)


def test_errors_of_the_body_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    with pytest.raises(MemoryError), open_image(tmp_path / "a.png"):
        raise MemoryError
