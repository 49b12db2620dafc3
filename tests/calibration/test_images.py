"""Calibration patches out of folders as people have them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from calibration import PatchStream
from dfsq.errors import ImageError

SMOOTH = np.kron(np.random.default_rng(0).integers(0, 256, (4, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def test_what_cannot_be_used_is_passed_over_and_said(tmp_path: Path) -> None:
    frames = [Image.fromarray(each) for each in (SMOOTH, 0 * SMOOTH)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    for name in ("._a.png", "Thumbs.db", "notes.txt", "empty.png"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.png")
    Image.fromarray(np.zeros((32, 48), np.float32)).save(tmp_path / "float.tif")
    said: list[str] = []
    stream = PatchStream([tmp_path], scale=2, patches=40, patch_size=32, on_skip=said.append)
    assert torch.cat(list(stream)).std() > 0.1  # the second frame is black
    assert sorted(said) == sorted(
        [
            f"{tmp_path}: passed over 1 that are no images: notes.txt",
            f"skipped: all of {tmp_path}/a.tif but the first of its 2 frames or pages",
            f"skipped: {tmp_path}/empty.png is no readable image (it is empty); remove or replace it",
            f"skipped: {tmp_path}/float.tif holds floating-point values; convert it to 8 or 16 bits first",
            f"skipped: {tmp_path}/pipe.png is a pipe or a device; name an image file",
        ]
    )


def test_images_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(SMOOTH).save(tmp_path / "stored.png", exif=exif)
    upright = PatchStream([np.rot90(SMOOTH, -1).copy()], scale=2, patches=4, patch_size=32)
    assert torch.equal(
        *(torch.cat(list(each)) for each in (PatchStream([tmp_path], scale=2, patches=4, patch_size=32), upright))
    )


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ImageError, match="no images in .*; PNG, JPEG, .* files are read"):
        PatchStream([tmp_path], scale=2)
