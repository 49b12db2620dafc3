"""The tables of docs/accuracy.md: what every recipe costs at 4, 3 and 2 bits, and what each ingredient is worth.

    python -m benchmarks.accuracy --data DATA --update docs/accuracy.md

DATA holds ``benchmark/SET``, ``checkpoints/`` and ``images/bsds500-train``. Takes a day on two cores; every
finished row is kept in ``--cache``, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

import dfsq
from benchmarks import training
from benchmarks.networks import load, quantized
from benchmarks.tables import replace
from calibration import Recipe, recipe
from dfsq.model import SRModel
from dfsq.runtime import compile_quantizers, keep_freed_memory

SETS = {
    "EDSR-baseline ×2": "Urban100-dev",
    "IMDN ×2": "Set5",
    "RLFN ×2": "Set14",
    "PAN ×4": "Set14",
    "IMDN ×4": "Set14",
    "CARN-M ×2": "Set14",
}
"""Networks, and the set that each is scored on."""
RECIPES = ("trained", "accurate", "fast", "paper", "mse-channel", "mse", "percentile", "minmax", "log2")
ABLATIONS: dict[str, dict[str, Any]] = {
    "accurate": {},
    "without column scales": {"columns": False},
    "without error feedback": {"feedback": False},
    "without compensation": {"compensation": False},
    "minmax weights": {"weights": "minmax"},
    "MSE-clipped weights": {"weights": "mse"},
    "K-means selection": {"selector": "kmeans"},
    "without headroom": {"headroom": None},
    "with 4 patches": {"patches": 4},
    "mixed precision": {"avg_bits": True},
}
ABLATED, ABLATED_BITS = ("IMDN ×2", "EDSR-baseline ×2"), (4, 2)
BITS = (4, 3, 2)
MISSING = "–"
"""Stands for what has not been measured; rows of nothing else are left out."""

Row = Mapping[str, float]


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Folder with the data.")
@click.option("--only", multiple=True, help="Rows to measure, by a part of their key.  [default: all]")
@click.option("--minutes", default=15.0, show_default=True, help="For every run of a recipe that trains.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path("accuracy.json"), show_default=True)
@click.option("--update", type=click.Path(path_type=Path), help="File whose tables are replaced.  [default: print]")
def main(data: Path, only: tuple[str, ...], minutes: float, cache: Path, update: Path | None) -> None:
    """Measure all rows that the cache lacks, then print the tables or put them into a file."""
    keep_freed_memory()
    compile_quantizers()
    measured: dict[str, Row] = json.loads(cache.read_text()) if cache.exists() else {}
    for key, network, name, bits, changes in jobs():
        if key in measured or not all(part in key for part in only):
            continue
        click.echo(f"{key} …", err=True)
        model = load(data, network)
        reference = f"{network} | FP32"
        if reference not in measured:
            measured[reference] = scores(model, data, network)
        chosen = recipe(name, w_bits=bits, a_bits=bits, **changes)
        measured[key] = measure(model, data, network, chosen, None if "steps" in changes else minutes)
        cache.write_text(json.dumps(measured, indent=1))
    tables = {
        "recipes": recipe_table(measured),
        "ablation": ablation_table(measured),
        "trained": training.table(measured, SETS, BITS),
        "trained-ablation": training.ablation_table(measured),
    }
    for name, text in tables.items():
        if update is None:
            click.echo(text)
        else:
            replace(update, name, "accuracy", text)


def jobs() -> Iterator[tuple[str, str, str, int, dict[str, Any]]]:
    """Key, network, recipe, bits and changes to the recipe of every row."""
    for name in RECIPES:
        for network in SETS:
            for bits in BITS:
                yield f"{network} | {name} | {bits}", network, name, bits, {}
    for network in ABLATED:
        for label, changes in ABLATIONS.items():
            for bits in ABLATED_BITS:
                own = {**changes, "avg_bits": float(bits)} if "avg_bits" in changes else changes
                yield f"{network} | {label} | {bits}", network, "accurate", bits, own
    for label, changes in training.ABLATIONS.items():
        yield training.key_of(label), training.NETWORK, "trained", training.BITS, {"steps": training.STEPS, **changes}


def measure(model: SRModel, data: Path, network: str, chosen: Recipe, minutes: float | None) -> Row:
    """Scores, bytes and seconds of one quantization, of ``minutes`` where the recipe trains; None: of its steps."""
    started = time.monotonic()
    result = quantized(data, model, chosen, minutes)
    seconds = time.monotonic() - started
    with TemporaryDirectory() as folder:
        size = dfsq.save(result, Path(folder) / "artifact.safetensors")
    row = {**scores(result, data, network), "bytes": size, "seconds": seconds}
    return row | training.figures(result) if chosen.trains else row


def scores(model: SRModel, data: Path, network: str) -> Row:
    """Mean Y-PSNR in dB: ``psnr`` on the network's set, and on Set5."""
    names = dict.fromkeys((SETS[network], "Set5"))
    found = {each.name: each.mean.psnr_y for each in dfsq.evaluate(model, data / "benchmark", list(names))}
    return {"psnr": found[SETS[network]], "Set5": found["Set5"]}


def recipe_table(measured: Mapping[str, Row]) -> str:
    """Drops per recipe and network; the smallest of a column at the same bits in bold."""
    lines = ["| recipe | bits | " + " | ".join(f"{network}<br>{SETS[network]}" for network in SETS) + " |"]
    lines.append("|---|---|" + "---:|" * len(SETS))
    references = (f"{network} | FP32" for network in SETS)
    scores = (f"{measured[key]['psnr']:.2f}" if key in measured else MISSING for key in references)
    lines.append(f"| full precision | | {' | '.join(scores)} |")
    for bits in BITS:
        for name in RECIPES:
            cells = [cell(measured, network, name, bits, RECIPES) for network in SETS]
            if set(cells) != {MISSING}:
                lines.append(f"| {name} | W{bits}A{bits} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ablation_table(measured: Mapping[str, Row]) -> str:
    """Drops of ``accurate`` with one ingredient changed."""
    columns = [(network, bits) for network in ABLATED for bits in ABLATED_BITS]
    lines = ["| | " + " | ".join(f"{network}<br>W{bits}A{bits}" for network, bits in columns) + " |"]
    lines.append("|---|" + "---:|" * len(columns))
    for label in ABLATIONS:
        cells = [cell(measured, network, label, bits, ()) for network, bits in columns]
        if set(cells) != {MISSING}:
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(measured: Mapping[str, Row], network: str, name: str, bits: int, rivals: tuple[str, ...]) -> str:
    """The drop of one row, bold where no rival's is smaller."""
    row = measured.get(f"{network} | {name} | {bits}")
    if row is None:
        return MISSING
    scores = [measured[key]["psnr"] for each in rivals if (key := f"{network} | {each} | {bits}") in measured]
    text = f"{measured[f'{network} | FP32']['psnr'] - row['psnr']:.2f}"
    return f"**{text}**" if scores and row["psnr"] == max(scores) else text


if __name__ == "__main__":
    main()
