"""``dfsq export``: a network as a file that other engines run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import completion
from cli.console import note, print_text
from cli.loading import checkpoint_options, load_model
from cli.options import common_options, prepare, quiet_option
from cli.outputs import check_outputs
from cli.progress import progress
from cli.values import Number, Size
from dfsq import limits
from dfsq.errors import UsageError
from dfsq.export.registry import FORMATS, GRAPH_LIBRARIES

if TYPE_CHECKING:
    from dfsq.export import Exported


@click.command()
@click.argument("model", default="edsr-baseline-x2", shell_complete=completion.models)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write: .onnx, or .xml for OpenVINO, whose weights lie beside it in a .bin.  [default: NAME.onnx]",
)
@click.option("--uint8", is_flag=True, help="Bytes in and out, NHWC, RGB.  [default: floats in 0–1, NCHW]")
@click.option(
    "--target",
    type=click.Choice(["openvino", "onnxruntime"]),
    help="Engine that integers are placed for.  [default: that which the network was quantized for]",
)
@click.option("--opset", type=Number(int, limits.OPSET), default=18, show_default=True, help="Version of ONNX's set.")
@click.option("--size", metavar="HxW", type=Size(limits.SIDE), help="The one size of LR images.  [default: any]")
@click.option("--no-check", is_flag=True, help="Do not run the file against the network.  [default: off]")
@checkpoint_options
@quiet_option
@common_options
def export(
    model: str,
    output: Path | None,
    uint8: bool,
    target: str | None,
    opset: int,
    size: tuple[int, int] | None,
    no_check: bool,
    device: str,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Write MODEL, a checkpoint or a dfsq artifact, for ONNX Runtime, OpenVINO and others.

    The file is run in the engines that are installed before it is written, against the network itself.

    \b
    dfsq export model.pth -o model.onnx
    dfsq export model.pth -o model.xml --uint8
    """
    output = output or Path(f"{Path(model).stem}.onnx")
    form = FORMATS.get(output.suffix.lower())
    if form is None:
        raise UsageError(f"--output {output}: choose a name that ends in {' or '.join(FORMATS)}")
    check_outputs([model], [output, *(output.with_suffix(each) for each in form.beside)], [])

    from dfsq.export import export as write
    from dfsq.extras import require
    from dfsq.report.report import size_text

    for module, extra in (*GRAPH_LIBRARIES, *form.libraries):
        require(module, extra)
    loaded = load_model(model, quiet, device=prepare(device), **overrides)
    with progress(quiet) as advance:
        exported = write(
            loaded, output, target=target, uint8=uint8, opset=opset, size=size, check=not no_check, advance=advance
        )
    if not exported.checks:
        note("not checked" if no_check else "not checked: neither onnxruntime nor openvino is installed", quiet)
    for line in _limits(exported):
        note(line, quiet)
    print_text(f"Wrote {output}, {size_text(exported.size)}{_closeness(exported)}\n")


def _closeness(exported: Exported) -> str:
    """What was checked, and how close it came."""
    told = []
    exact = exported.facts["quantization"] is None and exported.facts["input"]["dtype"] == "float32"
    for each in exported.checks:
        close = f"within {each.difference:.1e} of torch"
        if not exact:
            close = f"{100 * each.share:.2f} % of pixels within a grey level of torch, {each.psnr:.4f} dB apart"
        told.append(f"{each.engine} {close} on {each.pictures} pictures")
    return "".join(f"; {each}" for each in told)


def _limits(exported: Exported) -> list[str]:
    """What the file does not do, a line each."""
    facts = exported.facts
    batch, height, width = (size for size in facts["input"]["shape"] if size != 3)
    lines = []
    if facts["quantization"] not in (None, "int8"):
        lines.append("subset-quantized: a float graph with table look-ups, no speed-up")
    if height != "H":
        lines.append(f"it takes images of {height}×{width} alone")
    elif facts["min_size"] > 1:
        lines.append(f"it takes images of {facts['min_size']}×{facts['min_size']} pixels and more")
    if batch != "N":
        lines.append("it takes one image at a time")
    return lines
