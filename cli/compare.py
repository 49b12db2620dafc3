"""``dfsq compare``: one network under several recipes and bit widths."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from cli.calibrating import quantize_model
from cli.console import note, print_table
from cli.loading import body_option, checkpoint_options, load_model
from cli.options import (
    common_options,
    compile_option,
    data_options,
    prepare,
    quiet_option,
    report_option,
    split_commas,
)
from cli.outputs import check_outputs, write_reports
from cli.scoring import find_sets, score_models
from dfsq import distributed

if TYPE_CHECKING:
    from calibration import Recipe
    from dfsq.model import SRModel
    from dfsq.report.report import ModelReport


@click.command()
@click.argument("checkpoint", default="edsr-baseline-x2")
@click.option(
    "--recipes",
    metavar="NAME",
    multiple=True,
    callback=split_commas,
    default=("fast", "paper"),
    show_default=True,
    help="Recipes or YAML files; repeatable or comma-separated.",
)
@click.option(
    "--bits",
    multiple=True,
    callback=split_commas,
    default=("4",),
    show_default=True,
    help="Bits of weights and activations; repeatable or comma-separated.",
)
@click.option(
    "--calib",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Calibration images or folders, HR; repeatable.  [default: two sample photographs]",
)
@click.option("--patches", type=int, help="Number of calibration patches.  [default: the recipe's]")
@data_options
@click.option(
    "--set",
    "sets",
    metavar="SET",
    multiple=True,
    callback=split_commas,
    help="Sets under --data; repeatable or comma-separated.  [default: all that are there]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, unrounded.  [default: a table]")
@report_option
@checkpoint_options
@body_option
@compile_option
@quiet_option
@common_options
def compare(
    checkpoint: str,
    recipes: tuple[str, ...],
    bits: tuple[str, ...],
    calib: tuple[Path, ...],
    patches: int | None,
    data: Path | None,
    sets: tuple[str, ...],
    as_json: bool,
    reports: tuple[Path, ...],
    device: str,
    compile_: bool,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Quantize CHECKPOINT by several recipes and score every result; * marks the best at the same bits.

    \b
    dfsq compare model.pth --recipes fast,paper --bits 4,3,2 --data benchmark/ --set Set5,Set14
    """
    if sets and not data:
        raise click.UsageError("--set needs --data ROOT, the folder that holds the sets")
    if not all(each.isdigit() for each in bits):
        raise click.UsageError(f"--bits {','.join(bits)}: give whole numbers, for example 4,3,2")

    import calibration
    from dfsq.evaluation import samples
    from dfsq.report.comparison import comparison_table
    from dfsq.report.json_report import to_json
    from dfsq.report.report import Report

    device = prepare(device, compile_)
    check_outputs([checkpoint], [], reports)
    shared = {} if patches is None else {"patches": patches}
    chosen = [calibration.recipe(name, w_bits=int(b), a_bits=int(b), **shared) for b in bits for name in recipes]
    model = load_model(checkpoint, quiet, device=device, **overrides)
    found = find_sets(data, sets, model.scale, quiet)
    if not data:
        note(f"no --data: {samples.NOTE}", quiet)
    scored = list(score_models([(Path(checkpoint).name, model, None)], found, quiet))

    def run(recipe: Recipe) -> tuple[ModelReport, float]:
        started = time.monotonic()
        quantized, size = _quantize(model, recipe, calib, quiet)
        seconds = time.monotonic() - started
        name = f"{recipe.name} W{recipe.w_bits}A{recipe.a_bits}"
        return score_models([(name, quantized, size)], found, quiet)[0], seconds

    seconds = {}
    for row, taken in distributed.share(chosen, run):
        scored.append(row)
        seconds[row.name] = taken
    report = Report(tuple(scored), {"seconds": seconds, "recipes": [each.to_dict() for each in chosen]})
    if as_json:
        click.echo(to_json(report), nl=False)
    else:
        columns, rows = comparison_table(report)
        print_table("Y-PSNR in full precision, drops below it (dB)", columns, rows, range(2, len(columns)))
    write_reports(reports, report, f"{Path(checkpoint).name}: recipes compared", {})


def _quantize(model: SRModel, recipe: Recipe, calib: tuple[Path, ...], quiet: bool) -> tuple[SRModel, int]:
    """The quantized model and the size of its artifact in bytes."""
    import dfsq

    quantized = quantize_model(model, recipe, calib, quiet)
    with TemporaryDirectory() as folder:
        return quantized, dfsq.save(quantized, Path(folder) / "artifact.safetensors")
