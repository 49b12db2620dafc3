"""Published checkpoints: they load strictly and score what was published."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dfsq.checkpoint import read_state
from dfsq.model import SRModel
from dfsq.networks import from_state

CHECKPOINTS = [
    # file, architecture, scale, range, parameters in the file that the network of this scale has, layers in scope
    ("IMDN_x2.pth", "imdn", 2, 1.0, 694_404, 6 * 5 + 2),
    ("IMDN_x4.pth", "imdn", 4, 1.0, 715_176, 6 * 5 + 2),
    ("PANx4_DF2K.pth", "pan", 4, 1.0, 272_419, 16 * 7 + 1),
    ("rlfn_x2.pth", "rlfn", 2, 255.0, 526_856, 6 * 9 + 1),
    ("RFDN_AIM_x4.pth", "rfdn", 4, 255.0, 433_448, 4 * 15 + 2),
    ("imdn_kair_x4.pth", "imdn", 4, 1.0, 893_936, 8 * 5 + 1),
    ("rlfn_ntire_x4.pth", "rlfn", 4, 255.0, 317_218, 4 * 9 + 1),
    ("carn_m.pth", "carn", 2, 1.0, 257_051, 3 * 6 + 3),
    ("carn_m.pth", "carn", 3, 1.0, 303_451, 3 * 6 + 3),
    ("carn_m.pth", "carn", 4, 1.0, 294_171, 3 * 6 + 3),
    ("edsr_baseline_x2.safetensors", "edsr", 2, 255.0, 1_369_883, 32),
]


@pytest.mark.parametrize(("file", "name", "scale", "rgb_range", "parameters", "layers"), CHECKPOINTS)
def test_loads_strictly(
    data: Path, file: str, name: str, scale: int, rgb_range: float, parameters: int, layers: int
) -> None:
    model = from_state(read_state(data / "checkpoints" / file), scale=scale)
    info = model.info
    assert (info.architecture, info.scale, info.rgb_range) == (name, scale, rgb_range)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.body) == layers


def psnr_y(model: SRModel, data: Path, image: str) -> float:
    """Y-PSNR of one Set5 image, borders of ``scale`` pixels cropped."""
    scale = model.scale
    low = _read(data / "benchmark" / "Set5" / "LR_bicubic" / f"X{scale}" / f"{image}x{scale}.png")
    height, width = low.shape[0] * scale, low.shape[1] * scale
    high = _read(data / "benchmark" / "Set5" / "HR" / f"{image}.png")[:height, :width]
    with torch.inference_mode():
        result = model(torch.from_numpy(low / 255).float().permute(2, 0, 1)[None])[0]
    upscaled = (result * 255).clamp(0, 255).round().permute(1, 2, 0).double().numpy()
    luma = np.array([65.481, 128.553, 24.966]) / 255
    error = ((upscaled - high) @ luma)[scale:-scale, scale:-scale]
    return float(10 * np.log10(255**2 / (error**2).mean()))


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)


@pytest.mark.parametrize("image", ["bird", "butterfly"])
def test_pan_scores_as_its_authors_measured_per_image(data: Path, image: str) -> None:
    with (data / "reference" / "pan_x4_per_image.csv").open() as file:
        published = {row["image"]: float(row["psnr_y"]) for row in csv.DictReader(file) if row["set"] == "Set5"}
    model = from_state(read_state(data / "checkpoints" / "PANx4_DF2K.pth"))
    assert psnr_y(model, data, image) == pytest.approx(published[image], abs=0.001)


# Published Set5 means; CARN-M truncates instead of rounding, which costs up to 0.2 dB.
@pytest.mark.parametrize(
    ("file", "scale", "published", "tolerance"),
    [
        ("IMDN_x2.pth", 2, 38.00, 0.005),
        ("IMDN_x4.pth", 4, 32.21, 0.005),
        ("rlfn_x2.pth", 2, 38.07, 0.006),
        ("carn_m.pth", 2, 37.53, 0.2),
        ("carn_m.pth", 3, 33.99, 0.2),
        ("RFDN_AIM_x4.pth", 4, 32.2, 0.06),
        ("imdn_kair_x4.pth", 4, 32.2468, 0.001),
        ("rlfn_ntire_x4.pth", 4, 32.0973, 0.001),
        ("rfdn_rep_x4.pth", 4, 32.2072, 0.001),
    ],
)
def test_scores_as_published(data: Path, file: str, scale: int, published: float, tolerance: float) -> None:
    rgb_range = 1.0 if file == "rfdn_rep_x4.pth" else None  # its names are those of a network for 0–255
    model = from_state(read_state(data / "checkpoints" / file), scale=scale, rgb_range=rgb_range)
    images = ("baby", "bird", "butterfly", "head", "woman")
    mean = sum(psnr_y(model, data, image) for image in images) / len(images)
    assert mean == pytest.approx(published, abs=tolerance)
