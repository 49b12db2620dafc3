from pathlib import Path

import numpy as np
import pytest
import torch

from dfsq.evaluation.bicubic import downscale, enlarge, upscale
from dfsq.images.files import list_images, read_image


@pytest.mark.parametrize("name", ["Set5", "Set14", "B100-dev", "Urban100-dev"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reproduces_matlab_to_the_bit(data: Path, name: str, scale: int) -> None:
    folder = data / "benchmark" / name
    supplied = folder / "LR_bicubic" / f"X{scale}"
    if not supplied.is_dir():
        pytest.skip(f"{name} has no LR images at ×{scale}")
    for path in list_images(folder / "HR"):
        expected = read_image(supplied / f"{path.stem}x{scale}.png")
        assert np.array_equal(downscale(read_image(path), scale), expected), path.name


def test_constant_images_stay_constant() -> None:
    image = np.full((12, 15, 3), 77, np.uint8)
    assert np.array_equal(downscale(image, 3), np.full((4, 5, 3), 77, np.uint8))
    assert np.array_equal(upscale(image, 3), np.full((36, 45, 3), 77, np.uint8))


def test_upscaling_a_worked_example() -> None:
    # At ×2 the weights of the four neighbours are -3/128, 29/128, 111/128, -9/128 (a = -0.5, offset 1/4).
    row = np.array([0, 0, 0, 128, 0, 0, 0], np.float64).reshape(1, 7, 1)
    assert upscale(row, 2)[0, :, 0].tolist() == [0, 0, 0, -3, -9, 29, 111, 111, 29, -9, -3, 0, 0, 0]


def test_floating_point_is_not_rounded() -> None:
    image = np.random.default_rng(0).random((8, 8, 1))
    small = downscale(image, 2)
    assert small.dtype == np.float64
    assert not np.array_equal(small, np.rint(small))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 14)])
def test_tensors_are_enlarged_like_images(size: tuple[int, int], scale: int) -> None:
    image = np.random.default_rng(0).random((*size, 2))
    result = enlarge(torch.tensor(image).permute(2, 0, 1)[None], scale)
    np.testing.assert_allclose(result[0].permute(1, 2, 0).numpy(), upscale(image, scale), atol=1e-12)
