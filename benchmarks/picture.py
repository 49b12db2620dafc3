"""The picture in the README: a detail in high resolution, enlarged bicubically, in full precision and at 4 bits.

    python -m benchmarks.picture docs/w4a4.png

Shows a detail of flower.jpg (by vultilion, CC BY 2.0), which comes with scikit-learn: where the two differ most.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import calibration
import dfsq
from dfsq.evaluation import samples
from dfsq.evaluation.bicubic import upscale
from dfsq.evaluation.evaluator import Upscaled
from dfsq.report.compared import busiest

DETAIL, ZOOM, GAP, CAPTION = 96, 2, 8, 24


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def main(output: Path) -> None:
    """Quantize the embedded network and write the picture to OUTPUT."""
    model = dfsq.load("edsr-baseline-x2")
    quantized = calibration.quantize(model, calibration.PatchStream(samples.calibration_images(), scale=model.scale))
    seen: list[Upscaled] = []
    for each in (model, quantized):
        dfsq.evaluate(each, [samples.benchmark(model.scale)], on_image=seen.append)
    full, low = (image for image in seen if image.name == "flower")
    difference = np.abs(full.result.astype(np.int16) - low.result.astype(np.int16)).sum(2)
    window = busiest(difference, DETAIL, DETAIL)
    panels = (
        ("HR", full.hr),
        ("bicubic", upscale(full.lr, model.scale)),
        (f"32 bits, {full.scores.psnr_y:.2f} dB", full.result),
        (f"4 bits, {low.scores.psnr_y:.2f} dB", low.result),
    )
    width = DETAIL * ZOOM
    sheet = Image.new("RGB", ((width + GAP) * len(panels) - GAP, width + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, pixels) in enumerate(panels):
        detail = Image.fromarray(np.ascontiguousarray(pixels[window])).resize((width, width), Image.Resampling.NEAREST)
        sheet.paste(detail, (index * (width + GAP), 0))
        draw.text((index * (width + GAP) + 2, width + 3), caption, fill="black", font=ImageFont.load_default(14))
    sheet.save(output, optimize=True)


if __name__ == "__main__":
    main()
