"""How far an analysis can be believed: predicted against measured order, and what proposals promise against what comes.

    python -m benchmarks.analysis --data DATA --update docs/analyze.md

Images to measure on are of ``images/bsds500-test``, those to calibrate on of ``images/bsds500-train``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

import calibration
from benchmarks import tables
from benchmarks.networks import load, quantized
from calibration import Recipe
from calibration.analysis import analyze
from calibration.analysis.scenes import Scenes
from calibration.progress import silent
from dfsq.runtime import compile_quantizers, keep_freed_memory

NETWORKS = ("EDSR-baseline ×2", "IMDN ×2", "RLFN ×2")
IMAGES = 4


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Folder with the data.")
@click.option("--networks", multiple=True, default=NETWORKS, show_default=True, help="To analyze; repeatable.")
@click.option("--recipe", "name", default="accurate", show_default=True)
@click.option("--bits", default=4, show_default=True)
@click.option("--update", type=click.Path(path_type=Path), help="File whose table is replaced.  [default: print]")
def main(data: Path, networks: tuple[str, ...], name: str, bits: int, update: Path | None) -> None:
    """Print a row per network as it is measured, then the table, or put it into a file."""
    keep_freed_memory()
    compile_quantizers()
    lines = [
        "| network | layers | drop | Spearman | worst layer | error without it, promised | came | drop without it |",
        "|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for network in networks:
        lines.append(_row(data, network, calibration.recipe(name, w_bits=bits, a_bits=bits)))
        click.echo(lines[-1], err=True)
    text = "\n".join(lines)
    if update is None:
        click.echo(text)
    else:
        tables.replace(update, "analysis", "analysis", text)


def _row(data: Path, network: str, recipe: Recipe) -> str:
    model = load(data, network)
    _, held_out = calibration.set_aside([data / "images" / "bsds500-test"], scale=model.scale)
    held_out = replace(held_out, pairs=held_out.pairs[:IMAGES])
    found = analyze(model, quantized(data, model, recipe), held_out, silent)
    worst, scenes = found.layers[0], Scenes(model, held_out)
    came = scenes.seen(quantized(data, model, recipe.changed(skip=(worst.name,))))
    promised, got = (100 * each / found.error for each in (worst.removed, found.error - came.error))
    return (
        f"| {network} | {len(found.layers)} | {found.drop:.3f} | {found.agreement or 0:.3f} | {worst.name} | "
        f"−{promised:.0f} % | −{got:.0f} % | {scenes.full - came.psnr:.3f} |"
    )


if __name__ == "__main__":
    main()
