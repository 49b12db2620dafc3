"""How far an analysis can be believed: predicted against measured order, and what proposals promise against what comes.

    python -m benchmarks.analysis --data DATA

Images to measure on are of ``images/bsds500-test``, those to calibrate on of ``images/bsds500-train``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

import calibration
from benchmarks.networks import load, quantized
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
def main(data: Path, networks: tuple[str, ...], name: str, bits: int) -> None:
    """Print a row per network."""
    keep_freed_memory()
    compile_quantizers()
    print("| network | layers | drop | Spearman | worst layer | error without it, promised | came | drop without it |")
    print("|---|---:|---:|---:|---|---:|---:|---:|")
    for network in networks:
        model = load(data, network)
        recipe = calibration.recipe(name, w_bits=bits, a_bits=bits)
        _, held_out = calibration.set_aside([data / "images" / "bsds500-test"], scale=model.scale)
        held_out = replace(held_out, pairs=held_out.pairs[:IMAGES])
        found = analyze(model, quantized(data, model, recipe), held_out, silent)
        worst = found.layers[0]
        again = quantized(data, model, recipe.changed(skip=(worst.name,)))
        scenes = Scenes(model, held_out)
        came = scenes.seen(again)
        promised, got = (found.error - worst.removed) / found.error, came.error / found.error
        print(
            f"| {network} | {len(found.layers)} | {found.drop:.3f} | {found.agreement or 0:.3f} | {worst.name} | "
            f"−{100 * (1 - promised):.0f} % | −{100 * (1 - got):.0f} % | {scenes.full - came.psnr:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
