"""``dfsq quantize``: from a checkpoint to a quantized artifact and its PSNR report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cli import completion
from cli.aiming import quantize_within
from cli.calibrating import quantize_model
from cli.console import note, print_report, print_table, tell
from cli.evaluate import GATE_FAILED
from cli.loading import body_option, checkpoint_flags, checkpoint_options, load_model
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
from cli.outputs import check_artifact, check_inputs_survive, check_outputs, image_files, with_pictures, write_reports
from cli.pictures import Gallery
from cli.quantized import Quantized, allocation, bits_in_name, next_command
from cli.scoring import find_sets
from cli.training import forget, train_model, training_options
from cli.values import Number, NumberFor
from dfsq import distributed, limits

if TYPE_CHECKING:
    from dfsq.report.gates import Check


BITS = Number(int, limits.BITS)
SAFE_BITS = 7
"""Of weights: two products with bytes fit into the 16 bits in which older processors add them."""


@click.command()
@click.argument("checkpoint", default="edsr-baseline-x2", shell_complete=completion.models)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Artifact to write.  [default: NAME-w4a4.safetensors, by the bits]",
)
@click.option(
    "--bits", type=BITS, help="Bits of weights and activations, 2…8.  [default: the recipe's; those shipped 4]"
)
@click.option("--w-bits", type=BITS, help="Bits of weights alone.  [default: --bits]")
@click.option("--a-bits", type=BITS, help="Bits of activations alone.  [default: --bits]")
@click.option(
    "--avg-bits",
    type=Number(float, limits.BITS),
    help="Bits on average, more of them where the network is sensitive.  [default: the same for all layers]",
)
@click.option(
    "--max-drop",
    metavar="DB",
    type=Number(float, limits.TARGET),
    help="Raise bits of layers (int8: leave some in full precision) until the Y-PSNR drops by no more on images set "
    "aside from --calib. Where that cannot be: the best is written, exit code 3.  [default: none]",
)
@click.option(
    "--scope",
    type=click.Choice(["attention", "body", "all"]),
    help="attention: the body and, where the network has attention, the operands of its products; body: without these; "
    "all: activations outside the body too, at --outside-bits.  [default: the recipe's; int8 all, others attention]",
)
@click.option(
    "--recipe",
    "recipe_name",
    shell_complete=completion.recipes,
    default="accurate",
    show_default=True,
    help="accurate, fast, trained (takes minutes; for 2 and 3 bits), int8 (what engines run, see `dfsq export`), "
    "paper (DFSQ as published), ddtb (DDTB as published; takes hours on a GPU), or a YAML file.",
)
@click.option(
    "--selector",
    shell_complete=completion.selectors,
    help="Point selection: exact, kmeans or exhaustive.  [default: the recipe's]",
)
@click.option(
    "--universal",
    type=click.Choice(["additive", "even"]),
    help="What exact selects from; even: points are evenly spaced.  [default: the recipe's; even from 6 bits up]",
)
@click.option(
    "--weights",
    shell_complete=completion.weights,
    help="Weight quantizer: minmax, mse, subset or symmetric.  [default: the recipe's]",
)
@click.option(
    "--compensation/--no-compensation",
    default=None,
    help="Weights, layer after layer, make up for rounding errors.  [default: the recipe's; accurate on]",
)
@click.option(
    "--feedback/--no-feedback",
    default=None,
    help="Rounding errors of activations are passed on between channels.  [default: the recipe's; accurate on]",
)
@click.option("--words", type=Number(int, limits.WORDS), help="Words of the universal set, 1…5.  [default: 4]")
@click.option(
    "--headroom",
    metavar="X|none",
    type=Number(float, limits.HEADROOM, "none"),
    help="Activations saturate beyond X times what calibration saw.  [default: the recipe's; accurate 3, paper none]",
)
@click.option(
    "--block",
    metavar="PIXELS|none",
    type=Number(int, limits.BLOCK, "none"),
    help="Maps are normalized in squares of this side.  [default: the recipe's; accurate and fast 8, paper none]",
)
@click.option(
    "--float-share",
    type=Number(float, limits.SHARE),
    help="Of the time at most, 0…1, in full precision where that helps most.  [default: the recipe's; int8 0.1]",
)
@click.option(
    "--target",
    type=click.Choice(["openvino", "onnxruntime"]),
    help="Engine that is to run the integers of the recipe int8.  [default: the recipe's; int8 openvino]",
)
@training_options
@click.option(
    "--outside-bits",
    metavar="N|full",
    type=Number(int, limits.BITS, "full"),
    help="Bits of weights outside the body (head, upsampler, tail).  [default: the recipe's; accurate 8, paper full]",
)
@click.option(
    "--skip",
    metavar="GLOB",
    multiple=True,
    shell_complete=completion.layers,
    help="Layers that stay in full precision; repeatable.  [default: none]",
)
@click.option(
    "--layer-bits",
    metavar="GLOB=N",
    shell_complete=completion.layers_with_bits,
    multiple=True,
    type=NumberFor("GLOB=N", "'body.0.*=8'", BITS),
    help="Layers with bits of their own; repeatable, the last match counts.  [default: none]",
)
@calibration_options()
@click.option(
    "--patches",
    type=Number(int, limits.PATCHES),
    help="Number of calibration patches.  [default: 32; at ×3 and ×4 up to 128 for small networks]",
)
@click.option(
    "--patch-size",
    type=Number(int, limits.PATCH_SIZE),
    help="Height and width of a patch in HR pixels.  [default: 192]",
)
@click.option(
    "--seed",
    type=Number(int, limits.SEED),
    help="Seed of patches and K-means.  [default: the recipe's; those shipped 0]",
)
@set_option("all that are there; without --data sample crops")
@data_options
@click.option("--no-eval", is_flag=True, help="Do not evaluate.  [default: off]")
@report_option
@checkpoint_options
@body_option
@compile_option
@quiet_option
@common_options
def quantize(
    checkpoint: str,
    output: Path | None,
    bits: int | None,
    w_bits: int | None,
    a_bits: int | None,
    max_drop: float | None,
    minutes: float | None,
    resume: bool | None,
    recipe_name: str,
    calib: tuple[Path, ...],
    calib_is_lr: bool,
    sets: tuple[str, ...],
    data: Path | None,
    no_eval: bool,
    reports: tuple[Path, ...],
    arch: str | None,
    arch_args: Mapping[str, Any],
    scale: int | None,
    rgb_range: float | None,
    force: bool,
    body: tuple[str, ...],
    device: str,
    compile_: bool | None,
    quiet: bool,
    **choices: Any,
) -> int:
    """Quantize CHECKPOINT (default: the embedded EDSR-baseline ×2) and write a safetensors artifact.

    \b
    dfsq quantize model.pth -o model.safetensors --bits 4 --calib photos/
    dfsq quantize model.pth --recipe int8 --max-drop 0.05 --calib photos/
    dfsq quantize model.pth --recipe trained --bits 2 --minutes 15 --calib photos/
    dfsq quantize model.pth --recipe paper --set Set5,Set14 --data benchmark/
    """
    if no_eval and (sets or reports):
        raise click.UsageError("--no-eval contradicts --set and --report")
    if max_drop is not None and (minutes is not None or resume is not None):
        raise click.UsageError("--max-drop trains nothing; leave out --minutes, --resume and --no-resume")
    if minutes is not None and choices["steps"] is not None:
        raise click.UsageError("--steps and --minutes both say how long to train; leave out one of them")
    check_sets(sets, data)
    changes = {name: value for name, value in choices.items() if value is not None and value != ()}
    for name, value in (("w_bits", w_bits), ("a_bits", a_bits)):
        if value is not None or bits is not None:
            changes[name] = bits if value is None else value
    for option, word in (("outside_bits", "full"), ("headroom", "none"), ("block", "none")):
        if changes.get(option) == word:
            changes[option] = None

    import calibration
    import dfsq
    from calibration import target
    from dfsq.evaluation import samples
    from dfsq.report.sections.scores import identity

    device = prepare(device, compile_, quiet, calibrates=True)
    recipe = calibration.recipe(recipe_name, **changes)
    if recipe.for_engines and recipe.w_bits > SAFE_BITS:
        note(
            f"{recipe.w_bits}-bit weights overflow on processors without VNNI or AMX; {SAFE_BITS} bits do not",
            quiet,
        )
    if max_drop is not None:
        target.check(recipe, max_drop)
    within = "" if max_drop is None else f"-drop{max_drop:g}"
    output = output or Path(f"{Path(checkpoint).stem}-{bits_in_name(recipe)}{within}.safetensors")
    check_outputs([checkpoint, recipe_name, *map(str, calib)], [output], reports)
    check_artifact(output)
    model = load_model(
        checkpoint,
        quiet,
        arch=arch,
        arch_args=arch_args,
        scale=scale,
        rgb_range=rgb_range,
        force=force,
        body=body,
        device=device,
    )
    # Who has set DFSQ_DATA for good wants its sets where they are asked for: they take longer than quantizing.
    typed = click.get_current_context().get_parameter_source("data") is ParameterSource.COMMANDLINE
    root = data if sets or (typed and not no_eval) else None
    benchmarks = find_sets(root, sets, model.scale, quiet)
    check_inputs_survive(image_files(benchmarks), (output, *reports))
    aim, began = None, time.monotonic()
    if max_drop is not None:
        quantized, aim = quantize_within(model, recipe, calib, quiet, max_drop, is_lr=calib_is_lr)
    elif recipe.trains or minutes is not None or resume is not None:
        quantized = train_model(model, recipe, calib, output, quiet, minutes=minutes, resume=resume, is_lr=calib_is_lr)
    else:
        quantized = quantize_model(model, recipe, calib, quiet, is_lr=calib_is_lr)
    seconds = time.monotonic() - began
    size = dfsq.save(quantized, output)
    if recipe.trains:
        forget(output)
    if not calib:
        note("calibrated on sample photographs; give your own with --calib PATH", quiet)
    made = Quantized(checkpoint, output, recipe, model, quantized, size, seconds, aim)
    gallery = Gallery(*made.names)
    keep = gallery.add if with_pictures(reports) else lambda name, image: None
    scored = None if no_eval else made.scored(benchmarks, quiet, keep)
    if not distributed.is_main():
        return _code(made.checks)  # without the file that is told of
    facts, report = made.facts(), None
    if not calib:
        facts["calibration"] += ", left halves of two sample photographs"
    if scored is None:
        facts["network"] = identity(quantized.info.architecture, quantized.scale, quantized.info.identified())
    else:
        if root is None:
            facts["evaluated on"] = samples.NOTE
        findings = made.findings(scored, facts, gallery)
        report = findings.report
        write_reports(reports, findings)
    print_table(f"Wrote {output}", ("", ""), list(facts.items()))
    if recipe.avg_bits is not None:
        print_table("Allocation", ("layer", "weight bits", "activation bits"), allocation(quantized), (1, 2))
    if report is not None:
        print_report(report)
    flags = checkpoint_flags(arch, arch_args, scale, rgb_range, force)
    note(f"next: {next_command(checkpoint, output, recipe, flags, data, scored=root is not None)}", quiet)
    for check in made.checks:
        if check.passed:
            note(str(check), quiet)
        else:
            tell(f"{check}; {output} is the best that was found")
    return _code(made.checks)


def _code(checks: Sequence[Check]) -> int:
    return 0 if all(check.passed for check in checks) else GATE_FAILED
