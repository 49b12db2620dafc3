"""What only a real network and real photographs show."""

import subprocess
import sys
from pathlib import Path

import pytest

import dfsq
from calibration import OnePass, PatchStream, quantize, recipe
from calibration.observing import observe
from calibration.selection import exact, kmeans
from calibration.selection.histogram import selection_error
from dfsq.quantizers.universal import UniversalSet
from dfsq.runtime import compiled_quantizers

PEAK = """
import resource, sys, torch
from pathlib import Path
import dfsq
from calibration import OnePass, PatchStream, quantize
model = dfsq.load("edsr-baseline-x2")
images = PatchStream([Path(sys.argv[1])], scale=2, patches=int(sys.argv[2]), patch_size=64)
skip = tuple(f"body.{i}.*" for i in range(1, 16))
quantize(model, images, OnePass(w_bits=2, a_bits=2, skip=skip))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_exact_is_never_worse_than_kmeans_on_any_channel(data: Path) -> None:
    model = dfsq.load(data / "checkpoints" / "IMDN_x2.pth")
    images = PatchStream([data / "images" / "bsds500-train"], scale=2, patches=8, patch_size=96)
    observed = observe(model, list(model.body), images, OnePass(), lambda *_: None)
    universal = UniversalSet()
    channels = 0
    for observer in observed.values():
        histogram = observer.histogram()
        best = selection_error(histogram, exact.select(histogram, universal, 16), universal)
        rival = selection_error(histogram, kmeans.select(histogram, universal, 16, restarts=2, seed=0), universal)
        assert bool((best <= rival).all())
        channels += len(best)
    assert channels > 1500


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(data: Path) -> None:
    peaks = []
    for patches in ("16", "512"):
        command = [sys.executable, "-c", PEAK, str(data / "images" / "bsds500-train"), patches]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] <= 1.05 * peaks[0]


@pytest.mark.slow
@pytest.mark.parametrize("name, least, most", [("fast", 0.0, 0.75), ("paper", 0.0, 2.5)])
def test_four_bits_cost_little(data: Path, name: str, least: float, most: float) -> None:
    model = dfsq.load(data / "checkpoints" / "IMDN_x2.pth")
    images = PatchStream([data / "images" / "bsds500-train"], scale=2, patches=8)
    quantized = quantize(model, images, recipe(name, patches=8, selector="exact"))
    full, low = (dfsq.evaluate(each, data / "benchmark", ["Set5"])[0].mean.psnr_y for each in (model, quantized))
    assert least < full - low < most


@pytest.mark.slow
def test_at_two_bits_no_picture_runs_away(data: Path) -> None:
    """PAN multiplies maps by one another: what one layer let through was 10¹² in the end, on smooth skin alone."""
    model = dfsq.load(data / "checkpoints" / "PANx4_DF2K.pth")
    images = PatchStream([data / "images" / "bsds500-train"], scale=4, patches=32)
    with compiled_quantizers():
        quantized = quantize(model, images, recipe("accurate", w_bits=2, a_bits=2))
        full, low = (dfsq.evaluate(each, data / "benchmark", ["Set5"])[0].images for each in (model, quantized))
    assert all(before.scores.psnr_y - after.scores.psnr_y < 4 for before, after in zip(full, low, strict=True))
