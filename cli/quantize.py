"""``dfsq quantize``: from a checkpoint to a quantized artifact and its PSNR report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.options import check_device, checkpoint_options, common_options, data_options, quiet_option, split_commas


def _layer_bits(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, int], ...]:
    parsed = []
    for value in values:
        pattern, _, bits = value.rpartition("=")
        if not pattern or not bits.isdigit():
            raise click.BadParameter(f"{value!r} is not of the form 'GLOB=N', for example 'body.0.*=8'")
        parsed.append((pattern, int(bits)))
    return tuple(parsed)


def _outside_bits(_context: click.Context, _option: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "full":
        return value
    if not value.isdigit():
        raise click.BadParameter(f"{value!r} is neither a number of bits nor 'full'")
    return int(value)


@click.command()
@click.argument("checkpoint", default="edsr-baseline-x2")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Artifact to write.  [default: NAME-wNaN.safetensors]"
)
@click.option("--bits", type=int, help="Bits of weights and activations, 2…8.  [default: 4]")
@click.option("--w-bits", type=int, help="Bits of weights alone.  [default: --bits]")
@click.option("--a-bits", type=int, help="Bits of activations alone.  [default: --bits]")
@click.option("--recipe", "recipe_name", default="fast", show_default=True, help="fast, or paper: DFSQ as published.")
@click.option("--selector", help="Point selection: exact, kmeans or exhaustive.  [default: the recipe's]")
@click.option("--weights", help="Weight quantizer: minmax, mse or subset.  [default: the recipe's]")
@click.option("--words", type=int, help="Words of the universal set, 1…5.  [default: 4]")
@click.option(
    "--outside-bits",
    metavar="N|full",
    callback=_outside_bits,
    help="Bits of weights outside the body (head, upsampler, tail).  [default: the recipe's; fast 8, paper full]",
)
@click.option(
    "--skip", metavar="GLOB", multiple=True, help="Layers that stay in full precision; repeatable.  [default: none]"
)
@click.option(
    "--layer-bits",
    metavar="GLOB=N",
    multiple=True,
    callback=_layer_bits,
    help="Layers with bits of their own; repeatable, the last match counts.  [default: none]",
)
@click.option(
    "--calib",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Calibration images or folders, HR; repeatable.  [default: two sample photographs]",
)
@click.option("--calib-is-lr", is_flag=True, help="Calibration images are LR already.  [default: off]")
@click.option("--patches", type=int, help="Number of calibration patches.  [default: 32]")
@click.option("--patch-size", type=int, help="Height and width of a patch in HR pixels.  [default: 192]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of patches and K-means.")
@click.option(
    "--eval",
    "sets",
    metavar="SET",
    multiple=True,
    callback=split_commas,
    help="Benchmark sets under --data for the PSNR report; repeatable or comma-separated.  [default: sample crops]",
)
@data_options
@click.option("--no-eval", is_flag=True, help="Do not evaluate.  [default: off]")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Write the report: .json, .md or .html; repeatable.  [default: none]",
)
@checkpoint_options
@quiet_option
@common_options
def quantize(
    checkpoint: str,
    output: Path | None,
    bits: int | None,
    w_bits: int | None,
    a_bits: int | None,
    recipe_name: str,
    calib: tuple[Path, ...],
    calib_is_lr: bool,
    sets: tuple[str, ...],
    data: str | None,
    no_eval: bool,
    reports: tuple[Path, ...],
    arch: str | None,
    scale: int | None,
    rgb_range: float | None,
    device: str,
    quiet: bool,
    **choices: Any,
) -> None:
    """Quantize CHECKPOINT (default: the embedded EDSR-baseline ×2) and write a safetensors artifact.

    \b
    dfsq quantize model.pth -o model.safetensors --bits 4 --calib photos/
    dfsq quantize model.pth --recipe paper --eval Set5,Set14 --data benchmark/
    """
    if no_eval and (sets or reports):
        raise click.UsageError("--no-eval contradicts --eval and --report")
    if sets and data is None:
        raise click.UsageError("--eval needs --data ROOT, the folder that holds the sets")
    changes = {name: value for name, value in choices.items() if value is not None and value != ()}
    changes |= {"w_bits": w_bits or bits or 4, "a_bits": a_bits or bits or 4}
    if changes.get("outside_bits") == "full":
        changes["outside_bits"] = None

    from cli.session import QuantizeSession

    check_device(device)
    session = QuantizeSession(recipe_name, changes, quiet=quiet)
    session.load(checkpoint, arch=arch, scale=scale, rgb_range=rgb_range, device=device)
    session.check_outputs(output, reports)
    session.quantize(calib, calib_is_lr)
    session.save()
    if not no_eval:
        session.evaluate(data, sets)
        session.write_reports(reports)
    session.print_summary()
