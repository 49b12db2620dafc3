"""The table of networks in docs/accuracy.md: full-precision scores, and the drop at several bit widths.

    python -m benchmarks.networks --data DATA --paper-bits "" --update docs/accuracy.md

DATA holds ``benchmark/SET``, ``checkpoints/`` and ``images/bsds500-train``. Takes about an hour on two cores; every
finished row is kept in ``--cache``, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch

import dfsq
from benchmarks.tables import replace
from calibration import PatchStream, Recipe, Sitting, quantize, recipe, train
from dfsq.model import SRModel
from dfsq.runtime import compile_quantizers, keep_freed_memory
from dfsq.version import __version__

NETWORKS: dict[str, tuple[str, int]] = {
    "EDSR-baseline ×2": ("edsr_baseline_x2.safetensors", 2),
    "IMDN ×2": ("IMDN_x2.pth", 2),
    "RLFN ×2": ("rlfn_x2.pth", 2),
    "PAN ×4": ("PANx4_DF2K.pth", 4),
    "IMDN ×4": ("IMDN_x4.pth", 4),
    "CARN-M ×2": ("carn_m.pth", 2),
}
SETS = ("Set5", "Set14", "B100-dev", "Urban100-dev")


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Folder with the data.")
@click.option("--bits", default="8,6,4", show_default=True, help="Bits of weights and activations.")
@click.option("--recipe", "recipe_name", default="accurate", show_default=True, help="Recipe of these rows.")
@click.option("--paper-bits", default="4", show_default=True, help="Bits at which the paper's recipe is shown as well.")
@click.option("--only", multiple=True, help="Networks to measure, by name.  [default: all]")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("networks.json"), show_default=True)
@click.option("--update", type=click.Path(path_type=Path), help="File whose table is replaced.  [default: print]")
def main(
    data: Path, bits: str, recipe_name: str, paper_bits: str, only: tuple[str, ...], cache: Path, update: Path | None
) -> None:
    """Measure all rows that the cache lacks, then print the table or put it into a file."""
    keep_freed_memory()
    compile_quantizers()
    measured: dict[str, dict[str, float]] = json.loads(cache.read_text()) if cache.exists() else {}
    rows = [
        ("fp", 32),
        *((recipe_name, int(b)) for b in bits.split(",")),
        *(("paper", int(b)) for b in paper_bits.split(",") if b),
    ]
    names = [name for name in NETWORKS if not only or name in only]
    for name in names:
        model = load(data, name)
        for kind, width in rows:
            key = f"{name} {kind} {width}"
            if key not in measured:
                click.echo(f"{key} …", err=True)
                started = time.monotonic()
                candidate = model if kind == "fp" else quantized(data, model, recipe(kind, w_bits=width, a_bits=width))
                seconds = time.monotonic() - started
                results = dfsq.evaluate(candidate, data / "benchmark", SETS)
                measured[key] = {each.name: each.mean.psnr_y for each in results} | {
                    "bytes": stored(candidate),
                    "seconds": seconds,
                }
                cache.write_text(json.dumps(measured, indent=1))
    text = table(names, rows, measured)
    if update is None:
        click.echo(text)
    else:
        replace(update, "networks", "networks", text)


def stored(model: SRModel) -> int:
    """Bytes of the file of ``model``; in full precision of its parameters, as float32."""
    if model.quantization is None:
        return 4 * sum(each.numel() for each in model.parameters())
    with TemporaryDirectory() as folder:
        return dfsq.save(model, Path(folder) / "artifact.safetensors")


def load(data: Path, name: str) -> SRModel:
    """The full-precision model of a row."""
    file, scale = NETWORKS[name]
    return dfsq.load(data / "checkpoints" / file, scale=scale)


def quantized(data: Path, model: SRModel, chosen: Recipe, minutes: float | None = None) -> SRModel:
    """``model`` quantized on patches of BSDS500 training images; ``minutes`` for recipes that train."""
    patches = PatchStream(
        [data / "images" / "bsds500-train"],
        scale=model.scale,
        patches=chosen.patches_for(model),
        patch_size=chosen.patch_size,
        seed=chosen.seed,
    )
    if chosen.trains:
        return train(model, patches, chosen, Sitting(minutes=minutes))
    return quantize(model, patches, chosen)


def table(names: list[str], rows: list[tuple[str, int]], measured: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: Y-PSNR in full precision, and below it the drops."""
    lines = [f"| network | bits | {' | '.join(SETS)} | size |", f"|---|---|{'---:|' * (len(SETS) + 1)}"]
    for name in names:
        full = measured[f"{name} fp 32"]
        for kind, width in rows:
            scores = measured[f"{name} {kind} {width}"]
            if kind == "fp":
                cells, bits = [*(f"{scores[each]:.2f}" for each in SETS), f"{scores['bytes'] / 1e6:.2f} MB"], "FP32"
            else:
                cells = [f"{scores[each] - full[each]:+.3f}".replace("-", "−") for each in SETS]
                cells.append(f"{scores['bytes'] / full['bytes']:.2f}")
                bits = f"W{width}A{width}" + (", paper" if kind == "paper" else "")
            lines.append(f"| {name if kind == 'fp' else ''} | {bits} | {' | '.join(cells)} |")
    note = (
        f"Y-PSNR in dB in full precision, and what quantization changes; size of the file, against parameters in "
        f"float32. `-dev` is every fifth image of the set. dfsq "
        f"{__version__}, torch {torch.__version__}, calibrated on 32 patches of 192×192 HR pixels of BSDS500 training "
        "images (128 at ×4), seed 0."
    )
    return "\n".join([*lines, "", note])


if __name__ == "__main__":
    main()
