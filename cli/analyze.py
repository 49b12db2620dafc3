"""``dfsq analyze``: which layers of a quantized network hurt, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import completion
from cli.console import print_section
from cli.loading import body_option, checkpoint_options, load_model
from cli.options import (
    calibration_options,
    common_options,
    compile_option,
    prepare,
    quiet_option,
    report_option,
)
from cli.outputs import check_outputs, write_sections
from cli.progress import progress
from cli.proposing import quantize_command
from cli.twins import Twins, first, quantized_before, quantized_now
from cli.values import Number
from dfsq import distributed, limits
from dfsq.errors import UsageError
from dfsq.plurals import counted

if TYPE_CHECKING:
    from calibration.analysis import Analysis
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.report.section import Section
    from dfsq.report.signals import Histogram

IMAGES = 4
"""Looked at unless told otherwise: errors of layers are far steadier than scores."""
_ROWS = 20
"""Of a table on a terminal."""


@click.command()
@click.argument("file", metavar="CHECKPOINT|ARTIFACT", default="edsr-baseline-x2", shell_complete=completion.models)
@click.option(
    "--recipe",
    "recipe_name",
    shell_complete=completion.recipes,
    help="By which a CHECKPOINT is quantized first: a name or a YAML file.  [default: accurate]",
)
@click.option("--bits", type=Number(int, limits.BITS), help="Bits of a CHECKPOINT's layers.  [default: the recipe's]")
@click.option(
    "--reference",
    metavar="CHECKPOINT",
    help="What an ARTIFACT was made of.  [default: the file of that name beside it or here]",
)
@calibration_options("Images, some of which are set aside to measure on")
@click.option(
    "--images", "count", type=Number(int, limits.IMAGES), default=IMAGES, show_default=True, help="To measure on."
)
@click.option(
    "--layer",
    metavar="NAME",
    shell_complete=completion.layers,
    help="Show the inputs and levels of this layer alone.  [default: none]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, unrounded.  [default: tables]")
@click.option("--csv", "as_csv", is_flag=True, help="Print a line per layer, unrounded.  [default: tables]")
@report_option
@checkpoint_options
@body_option
@compile_option
@quiet_option
@common_options
def analyze(
    file: str,
    recipe_name: str | None,
    bits: int | None,
    reference: str | None,
    calib: tuple[Path, ...],
    calib_is_lr: bool,
    count: int,
    layer: str | None,
    as_json: bool,
    as_csv: bool,
    reports: tuple[Path, ...],
    device: str,
    compile_: bool | None,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Measure what each layer of an ARTIFACT, or of a CHECKPOINT once it is quantized, costs the picture.

    The layer that hurts most comes first; the last line is the command that does something about it.

    \b
    dfsq analyze model-w4a4.safetensors --calib photos/
    dfsq analyze model.pth --recipe int8 --calib photos/ --report layers.html
    dfsq analyze model-w4a4.safetensors --layer body.0
    """
    if sum((as_json, as_csv, layer is not None)) > 1:
        raise click.UsageError("--json, --csv and --layer are three outputs; choose one")

    from calibration.analysis import analyze as analysed
    from calibration.analysis import sections as sections_of

    device = prepare(device, compile_, quiet, calibrates=True)
    check_outputs([file, *map(str, calib)], [], reports)
    model = load_model(file, quiet, device=device, **overrides)
    if model.quantization is None and reference is not None:
        raise click.UsageError(f"--reference is for artifacts; {file} is a checkpoint")
    if model.quantization is not None and (recipe_name or bits):
        raise click.UsageError(f"{file} is quantized already; --recipe and --bits are for checkpoints")
    if model.quantization is None:
        twins = quantized_now(file, model, recipe_name, bits, calib, quiet, is_lr=calib_is_lr)
    else:
        twins = quantized_before(
            file, model, reference, calib, quiet, is_lr=calib_is_lr, device=device, overrides=overrides
        )
    held_out, name = first(twins.held_out, count), Path(file).name
    if layer is not None:
        inputs = _histogram(twins, held_out, layer)
        section = sections_of.histogram_section(layer, inputs)
        if distributed.is_main():
            title = f"{name}: {layer}"
            write_sections(reports, [section], title, sections_of.histogram_json(layer, inputs), section)
        print_section(section)
        return
    with progress(quiet) as advance:
        found = analysed(twins.full, twins.quantized, held_out, advance)
    assert twins.quantized.quantization is not None
    recipe = twins.quantized.quantization.recipe
    command = _command(twins.source, found, recipe, calib)
    document = sections_of.to_json(found, {"file": name, "recipe": recipe, "command": command})
    if distributed.is_main():
        page = [*sections_of.sections(found), _advice(found, command)]
        title = f"{name}: what quantization costs, layer by layer"
        write_sections(reports, page, title, document, sections_of.every_figure(found))
    if as_json:
        click.echo(document, nl=False)
    elif as_csv:
        from dfsq.report.spreadsheet import to_csv

        click.echo(to_csv(sections_of.every_figure(found)), nl=False)
    else:
        for section in [*sections_of.sections(found, _ROWS), _advice(found, command)]:
            print_section(section)


def _histogram(twins: Twins, held_out: Benchmark, layer: str) -> Histogram:
    from calibration.analysis.histogram import histogram
    from calibration.analysis.parts import quantized_parts
    from calibration.analysis.scenes import Scenes

    parts = quantized_parts(twins.quantized)
    if layer not in parts:
        raise UsageError(f"no quantized layer {layer!r}; they are named like {', '.join(list(parts)[:3])}")
    return histogram(twins.full, parts[layer], layer, Scenes(twins.full, held_out).lr)


def _command(source: str, found: Analysis, recipe: Mapping[str, Any], calib: Sequence[Path]) -> str | None:
    """The command that does what the analysis proposes."""
    from cli.quantize import quantize

    if found.proposal is None:
        return None
    return quantize_command(quantize, source, recipe, found.proposal.changes, calib)


def _advice(found: Analysis, command: str | None) -> Section:
    from dfsq.report.section import Section

    proposal = found.proposal
    if proposal is None or command is None:
        return Section("Next", notes=[f"A drop of {found.drop:.3f} dB leaves nothing to be gained."])
    if proposal.layers:
        layers = counted(len(proposal.layers), "layer")
        what = f"More bits for {layers} would leave a drop of {proposal.drop:.3f} dB of {found.drop:.3f}:"
    else:
        what = f"No few layers stand out. Raising bits until the drop is {proposal.drop:g} dB:"
    return Section("Next", notes=[what, command])
