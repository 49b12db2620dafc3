"""What is told of a model that was quantized."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.training import facts_of

if TYPE_CHECKING:
    from calibration import Recipe
    from dfsq.model import SRModel


def quantized_facts(model: SRModel, recipe: Recipe, size: int) -> dict[str, str]:
    """The headline figures of a model that was quantized by ``recipe`` and whose file takes ``size`` bytes."""
    from calibration.methods.by_training import ByTraining
    from dfsq.artifact.parts import parts_of
    from dfsq.nn import quantized_layers, quantized_places
    from dfsq.report.report import size_text

    assert model.quantization is not None
    stored, calibration = model.quantization.recipe, model.quantization.calibration
    if isinstance(recipe, ByTraining):
        recipe = recipe.with_steps(stored["steps"])  # as many as fitted into --minutes
    layers = dict(quantized_layers(model.net))
    inside = sum(layer.input_quantizer is not None for layer in layers.values())
    alone = {layer.quantized_weight.bits for layer in layers.values() if layer.input_quantizer is None}
    float32 = 4 * sum(parameter.numel() for parameter in model.parameters())
    bits = recipe.avg_bits
    width = f"W{recipe.w_bits}A{recipe.a_bits}" if bits is None else f"W{bits:g}A{bits:g} on average"
    if "mean_w_bits" in stored:
        width = f"W{stored['mean_w_bits']:g}A{stored['mean_a_bits']:g} on average"
    weights_alone = f", {len(layers) - inside} more at W{max(alone)}" if alone else ""
    places = len(list(quantized_places(model.net)))
    between = f", {places} places between them" if places else ""
    return {
        "network": f"{model.info.architecture} ×{model.scale}",
        "layers": f"{inside} at {width}{between}{weights_alone}",
        "size": f"{size_text(float32)} (float32) → {size_text(size)}, {_smaller(float32, size)}",
        "file": ", ".join(f"{kind} {size_text(part)}" for kind, part in parts_of(model, size).items() if part),
        "recipe": f"{recipe.name}: {recipe.phrase()}",
        "calibration": f"{calibration['patches']} patches of {'×'.join(map(str, calibration['patch']))}",
        "seed": str(recipe.seed),
        **facts_of(calibration, stored.get("steps", 0)),
    }


def next_command(
    checkpoint: str, output: Path, recipe: Recipe, flags: Sequence[str], data: Path | None, *, scored: bool
) -> str:
    """The command that most people want after this one.

    ``flags``: by which ``checkpoint`` was read; ``data``: where benchmark sets lie, on which the result was ``scored``
    or not.
    """
    if not scored and not recipe.for_engines:
        sets = ["BENCHMARKS", "--set", "Set5"] if data is None else [str(data)]
        return shlex.join(["dfsq", "eval", checkpoint, str(output), "--data", *sets, *flags])
    if recipe.for_engines:
        words = ["export", str(output), "-o", str(output.with_suffix(".onnx"))]
    else:
        words = ["upscale", str(output), "IMAGE", "-o", "OUTPUT"]
    own = list(flags[:2]) if flags[:1] == ["--arch"] and ":" in flags[1] else []  # what an artifact does not hold
    return shlex.join(["dfsq", *words, *own])


def _smaller(before: int, size: int) -> str:
    """How the size of a file compares with what it came from, both in bytes."""
    return f"{before / size:.1f}× smaller" if size < 0.95 * before else "no smaller"


def bits_in_name(recipe: Recipe) -> str:
    """What the name of a file says of the bits: ``w4a4``, ``avg3.5``, ``int8``."""
    if recipe.for_engines:
        return "int8"
    return f"w{recipe.w_bits}a{recipe.a_bits}" if recipe.avg_bits is None else f"avg{recipe.avg_bits:g}"


def allocation(model: SRModel) -> list[tuple[str, ...]]:
    """A row per layer that is quantized: name, bits of weights and of activations."""
    from dfsq.nn import quantized_layers

    return [
        (name, str(layer.quantized_weight.bits), str(layer.input_quantizer.bits))
        for name, layer in quantized_layers(model.net)
        if layer.input_quantizer is not None
    ]
