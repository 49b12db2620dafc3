"""The table of large networks in docs/performance.md: minutes and memory of the default recipe, on random weights.

    python -m benchmarks.large --data DATA --update docs/performance.md

DATA holds ``images/bsds500-train``. Every network is quantized in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch

import calibration
from benchmarks.tables import replace
from cli.progress import Lines
from dfsq import networks
from dfsq.networks import architectures
from dfsq.runtime import compile_quantizers, keep_freed_memory

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ESRGAN ×4": (
        "rrdb",
        {"scale": 4, "blocks": 23, "features": 64, "growth": 32, "unshuffle": 1},
    ),
    "EDSR-large ×2": ("edsr", {"scale": 2, "blocks": 32, "features": 256, "residual_scale": 0.1}),
}


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Folder with the data.")
@click.option("--bits", default=4, show_default=True, help="Bits of weights and activations.")
@click.option("--only", type=click.Choice(list(NETWORKS)), help="Network to measure.  [default: all]")
@click.option("--update", type=click.Path(path_type=Path), help="File whose table is replaced.  [default: print]")
@click.option("--here", is_flag=True, hidden=True, help="Measure in this process, and print JSON.")
def main(data: Path, bits: int, only: str | None, update: Path | None, here: bool) -> None:
    """Quantize every network, then print the table or put it into a file."""
    if here:
        assert only is not None
        click.echo(json.dumps(measure(only, data, bits)))
        return
    lines = [f"| network, W{bits}A{bits} | parameters | minutes | peak memory |", "|---|---:|---:|---:|"]
    for name in NETWORKS if only is None else [only]:
        command = [sys.executable, "-m", "benchmarks.large", "--here", "--data", str(data), "--bits", str(bits)]
        done = subprocess.run([*command, "--only", name], stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout)
        memory = f"{found['memory'] / 1e9:.1f} GB"
        lines.append(f"| {name} | {found['parameters'] / 1e6:.1f} M | {found['seconds'] / 60:.1f} | {memory} |")
    if update is None:
        click.echo("\n".join(lines))
    else:
        replace(update, "large", "large", "\n".join(lines))


def measure(name: str, data: Path, bits: int) -> dict[str, float]:
    """Parameters, seconds that quantization takes, and bytes that the process held at most."""
    keep_freed_memory()
    compile_quantizers()
    torch.manual_seed(0)
    architecture, configuration = NETWORKS[name]
    model = networks.from_state(architectures()[architecture].build(**configuration).state_dict())
    chosen = calibration.recipe(w_bits=bits, a_bits=bits)
    images = calibration.PatchStream(
        [data / "images" / "bsds500-train"], scale=model.scale, patches=chosen.patches_for(model)
    )
    began = time.monotonic()
    calibration.quantize(model, images, chosen, Lines(time.monotonic))
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "seconds": time.monotonic() - began,
        "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


if __name__ == "__main__":
    main()
