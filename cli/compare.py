"""``dfsq compare``: one network under several recipes and bit widths."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from cli import completion
from cli.calibrating import quantize_model
from cli.console import note, print_section
from cli.engines import check_engine, engine_of, engine_options
from cli.loading import body_option, checkpoint_options, load_model
from cli.options import (
    calibration_options,
    check_sets,
    common_options,
    compile_option,
    data_options,
    prepare,
    quiet_option,
    report_option,
    set_option,
)
from cli.outputs import check_inputs_survive, check_outputs, image_files, write_reports
from cli.provenance import provenance
from cli.scoring import find_sets, score_models
from cli.values import Number, split_commas
from dfsq import distributed, limits
from dfsq.engines.registry import F32
from dfsq.errors import UsageError

if TYPE_CHECKING:
    from calibration import Recipe
    from dfsq.model import SRModel
    from dfsq.report.report import ModelReport

BITS = Number(int, limits.BITS)


def _bits(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[int, ...]:
    parts = split_commas(context, option, values) or values  # nothing between commas is no number
    return tuple(dict.fromkeys(BITS.convert(each, option, context) for each in parts))


@click.command()
@click.argument("checkpoint", default="edsr-baseline-x2", shell_complete=completion.models)
@click.option(
    "--recipes",
    metavar="NAME",
    shell_complete=completion.several_recipes,
    multiple=True,
    callback=split_commas,
    default=("accurate", "paper"),
    show_default=True,
    help="Recipes or YAML files; repeatable or comma-separated.",
)
@click.option(
    "--bits",
    multiple=True,
    callback=_bits,
    default=("4",),
    show_default=True,
    help="Bits of weights and activations; repeatable or comma-separated.",
)
@calibration_options()
@click.option(
    "--patches", type=Number(int, limits.PATCHES), help="Number of calibration patches.  [default: the recipe's]"
)
@data_options
@set_option("all that are there")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, unrounded.  [default: a table]")
@report_option
@engine_options(F32)
@checkpoint_options
@body_option
@compile_option
@quiet_option
@common_options
def compare(
    checkpoint: str,
    recipes: tuple[str, ...],
    bits: tuple[int, ...],
    calib: tuple[Path, ...],
    calib_is_lr: bool,
    patches: int | None,
    data: Path | None,
    sets: tuple[str, ...],
    as_json: bool,
    reports: tuple[Path, ...],
    engine: str | None,
    precision: str,
    device: str,
    compile_: bool | None,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Quantize CHECKPOINT by several recipes and score every result; * marks the best at the same bits.

    \b
    dfsq compare model.pth --recipes accurate,paper --bits 4,3,2 --data benchmark/ --set Set5,Set14
    """
    if not recipes:
        raise click.UsageError("--recipes names none; see 'dfsq recipes list'")
    check_sets(sets, data)

    import calibration
    from dfsq.evaluation import samples
    from dfsq.report.findings import Findings
    from dfsq.report.json_report import to_json
    from dfsq.report.report import Report
    from dfsq.report.sections.comparison import table

    check_engine(engine, [checkpoint], device=device != "cpu", compile=bool(compile_))
    device = prepare(device, compile_, quiet, calibrates=True)
    check_outputs((checkpoint, *recipes, *calib), [], reports)
    shared = {} if patches is None else {"patches": patches}
    different = tuple(dict.fromkeys(recipes))
    usual = [calibration.recipe(name, **shared) for name in different]
    _check_names(usual)
    # Engines have bits of their own, whatever the others are compared at.
    chosen = [each for each in usual if each.for_engines]
    chosen += [each.changed(w_bits=width, a_bits=width) for width in bits for each in usual if not each.for_engines]
    model = load_model(checkpoint, quiet, device=device, **overrides)
    found = find_sets(data, sets, model.scale, quiet)
    check_inputs_survive(image_files(found), reports)
    if not data:
        note(f"no --data: {samples.NOTE}", quiet)
    run_in = partial(engine_of, quiet=quiet, engine=engine, precision=precision)
    scored = list(score_models([(Path(checkpoint).name, run_in(model), None)], found, quiet))

    def run(recipe: Recipe) -> tuple[ModelReport, float]:
        started = time.monotonic()
        quantized, artifact = _quantize(model, recipe, calib, quiet, calib_is_lr)
        seconds = time.monotonic() - started
        name = f"{recipe.name} W{recipe.w_bits}A{recipe.a_bits}"
        size = sum(artifact["parts"].values())
        return replace(score_models([(name, run_in(quantized), size)], found, quiet)[0], artifact=artifact), seconds

    seconds = {}
    for row, taken in distributed.share(chosen, run):
        scored.append(row)
        seconds[row.name] = taken
    report = Report(tuple(scored), {"seconds": seconds, "recipes": [each.to_dict() for each in chosen]})
    title = f"{Path(checkpoint).name}: recipes compared"
    write_reports(reports, Findings(report, title, **provenance({Path(checkpoint).name: checkpoint})))
    if as_json:
        click.echo(to_json(report), nl=False)
    else:
        print_section(table(report))


def _check_names(recipes: Sequence[Recipe]) -> None:
    """Rows of one name could not be told apart."""
    names = [each.name for each in recipes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two recipes are called {twice!r}; give one another name in its file")


def _quantize(
    model: SRModel, recipe: Recipe, calib: tuple[Path, ...], quiet: bool, is_lr: bool
) -> tuple[SRModel, dict[str, Any]]:
    """The quantized model and what of its artifact a comparison tells: recipe and bytes by part."""
    import dfsq
    from dfsq.artifact.parts import described

    quantized = quantize_model(model, recipe, calib, quiet, is_lr=is_lr)
    with TemporaryDirectory() as folder:
        dfsq.save(quantized, file := Path(folder) / "artifact.safetensors")
        told = described(file)
        return quantized, {key: told[key] for key in ("recipe", "parts")}
