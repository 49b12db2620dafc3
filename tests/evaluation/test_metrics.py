import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dfsq.errors import ImageError
from dfsq.evaluation.metrics import score

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.integers(0, 256, (40, 52, 3), dtype=np.uint8)
RESULT = np.clip(TRUTH.astype(int) + RANDOM.integers(-20, 21, TRUTH.shape), 0, 255).astype(np.uint8)


def luma(image: np.ndarray) -> np.ndarray:
    """BT.601 luma as MATLAB's rgb2ycbcr has it, before rounding."""
    return 16 + image.astype(float) @ np.array([65.481, 128.553, 24.966]) / 255


def similarity(a: np.ndarray, b: np.ndarray, **options: object) -> float:
    """scikit-image's SSIM over the positions where the 11×11 window fits."""
    _, full = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True, **options
    )
    return float(full[5:-5, 5:-5].mean())


@pytest.mark.parametrize("border", [0, 2, 4])
def test_scores_agree_with_scikit_image(border: int) -> None:
    scores = score(RESULT, TRUTH, border)
    inner = slice(border, -border or None)
    result, truth = RESULT[inner, inner], TRUTH[inner, inner]
    assert scores.psnr_rgb == pytest.approx(peak_signal_noise_ratio(truth, result), abs=1e-9)
    assert scores.psnr_y == pytest.approx(peak_signal_noise_ratio(luma(truth), luma(result), data_range=255), abs=1e-9)
    assert scores.ssim_y == pytest.approx(similarity(luma(truth), luma(result)), abs=1e-9)
    assert scores.ssim_rgb == pytest.approx(
        similarity(truth.astype(float), result.astype(float), channel_axis=2), abs=1e-9
    )


def test_identical_images() -> None:
    scores = score(TRUTH, TRUTH, 2)
    assert (scores.psnr_y, scores.psnr_rgb) == (math.inf, math.inf)
    assert (scores.ssim_y, scores.ssim_rgb) == (1.0, 1.0)


def test_a_worked_example() -> None:
    # Every pixel off by 5 in all channels: RGB mean squared error 25, luma off by 5 · 219/255.
    dark, bright = np.full((20, 20, 3), 100, np.uint8), np.full((20, 20, 3), 105, np.uint8)
    scores = score(dark, bright, 2)
    assert scores.psnr_rgb == pytest.approx(10 * math.log10(255**2 / 25))
    assert scores.psnr_y == pytest.approx(10 * math.log10(255**2 / (5 * 219 / 255) ** 2))


def test_images_that_cannot_be_compared() -> None:
    with pytest.raises(ImageError, match="cannot be compared"):
        score(TRUTH, TRUTH[:-1], 2)
    with pytest.raises(ImageError, match="13×13 without a border of 2 is smaller than 11×11"):
        score(TRUTH[:13, :13], TRUTH[:13, :13], 2)
