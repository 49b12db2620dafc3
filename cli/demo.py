"""``dfsq demo``: the embedded network at 4 bits, with a report worth looking at."""

from __future__ import annotations

from pathlib import Path

import click

from cli.console import print_text
from cli.options import common_options, quiet_option
from cli.quantize import BITS, quantize
from dfsq.files import make_folder

CHECKPOINT = "edsr-baseline-x2"


@click.command()
@click.option(
    "-o",
    "--output",
    default="dfsq-demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the artifact and its report.",
)
@click.option("--bits", type=BITS, default=4, show_default=True, help="Bits of weights and activations, 2…8.")
@quiet_option
@common_options
@click.pass_context
def demo(context: click.Context, output: Path, bits: int, quiet: bool) -> None:
    """Quantize the embedded EDSR-baseline ×2 and write a report with pictures.

    The figures are those of two sample photographs: a smoke test, not a benchmark.
    """
    make_folder(output)
    report = output / "report.html"
    context.invoke(
        quantize,
        checkpoint=CHECKPOINT,
        output=output / f"{CHECKPOINT}-w{bits}a{bits}.safetensors",
        bits=bits,
        reports=(report,),
        quiet=quiet,
    )
    print_text(f"\nReport with pictures: {report}\nYour own: dfsq quantize your-checkpoint.pth --calib your-photos/\n")
