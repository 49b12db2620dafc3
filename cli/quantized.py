"""What ``dfsq quantize`` has made of a checkpoint, and what it tells of that."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.provenance import provenance, with_artifacts
from cli.scoring import score_models
from cli.shares import share_document, share_facts
from cli.training import facts_of

if TYPE_CHECKING:
    from calibration import Recipe
    from cli.aiming import Aim
    from cli.pictures import Gallery
    from cli.scoring import OnImage
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.model import SRModel
    from dfsq.networks.multiply_adds import Shares
    from dfsq.report.findings import Findings
    from dfsq.report.gates import Check
    from dfsq.report.report import Report


@dataclass(frozen=True)
class Quantized:
    """What a run has made of a checkpoint, and what is told of it."""

    checkpoint: str
    output: Path
    recipe: Recipe
    full: SRModel
    """In full precision."""
    model: SRModel
    """What was made of it, which is in ``output``."""
    size: int
    """Bytes of the file."""
    seconds: float
    """That it took."""
    aim: Aim | None
    """The target that was to hold, where there was one."""

    @property
    def names(self) -> tuple[str, str]:
        """What reports call the two models."""
        names = Path(self.checkpoint).name, self.output.name
        return names if names[0] != names[1] else (self.checkpoint, str(self.output))

    @property
    def checks(self) -> list[Check]:
        """Whether the target holds."""
        return [] if self.aim is None else [self.aim.check(self.output.name)]

    def facts(self) -> dict[str, str]:
        """The headline figures, by caption."""
        from dfsq.artifact.parts import parts_of
        from dfsq.report.report import size_text
        from dfsq.runtime import rounded_by

        assert self.model.quantization is not None
        stored, calibration = self.model.quantization.recipe, self.model.quantization.calibration
        before, parts = self._float32, parts_of(self.model, self.size).items()
        facts = {
            "network": f"{self.model.info.architecture} ×{self.model.scale}",
            "layers": self._layers(stored),
            "size": f"{size_text(before)} (float32) → {size_text(self.size)}, {_smaller(before, self.size)}",
            "file": ", ".join(f"{kind} {size_text(part)}" for kind, part in parts if part),
            "recipe": f"{self.recipe.name}: {self._as_run(stored).phrase()}",
            "calibration": f"{calibration['patches']} patches of {'×'.join(map(str, calibration['patch']))}",
            "seed": str(self.recipe.seed),
            **facts_of(calibration, stored.get("steps", 0)),
            "took": f"{self.seconds:.0f} s, activations rounded by {rounded_by()}",
            **share_facts(self._shares, "quantized", "with quantized weights alone"),
        }
        return facts if self.aim is None else facts | self.aim.facts()

    def scored(self, benchmarks: Sequence[Benchmark], quiet: bool, on_image: OnImage) -> Report:
        """Both models on ``benchmarks``; work for all processes."""
        from dfsq.report.report import Report

        models = ((self.names[0], self.full, self._float32), (self.names[1], self.model, self.size))
        return Report(score_models(models, benchmarks, quiet, on_image))

    def findings(self, scored: Report, facts: Mapping[str, str], gallery: Gallery) -> Findings:
        """What reports tell; work for the process that has written the file."""
        from dfsq.artifact import read_header
        from dfsq.report.findings import Findings
        from dfsq.report.report import bits_of

        details = {
            "quantization": read_header(self.output),
            "seconds": round(self.seconds, 1),
            "multiply_adds": share_document(self._shares),
        }
        files = {self.names[0]: self.checkpoint, self.names[1]: str(self.output)}
        report = with_artifacts(replace(scored, details=details), files)
        title = f"{self.names[0]} at {bits_of(scored.models[1])}"
        seen = gallery.findings(self.full, self.model)
        return Findings(report, title, facts=facts, checks=self.checks, **seen, **provenance(files))

    @property
    def _float32(self) -> int:
        """Bytes of the parameters as float32."""
        return 4 * sum(each.numel() for each in self.full.parameters())

    @cached_property
    def _shares(self) -> Shares:
        from dfsq.networks.multiply_adds import of_model

        return of_model(self.model)

    def _as_run(self, stored: Mapping[str, Any]) -> Recipe:
        """The recipe with as many steps as fitted into ``--minutes``."""
        from calibration.methods.by_training import ByTraining

        return self.recipe.with_steps(stored["steps"]) if isinstance(self.recipe, ByTraining) else self.recipe

    def _layers(self, stored: Mapping[str, Any]) -> str:
        """How many layers have which bits."""
        from dfsq.nn import quantized_layers, quantized_places

        layers = dict(quantized_layers(self.model.net))
        inside = sum(layer.input_quantizer is not None for layer in layers.values())
        alone = {layer.quantized_weight.bits for layer in layers.values() if layer.input_quantizer is None}
        bits = self.recipe.avg_bits
        width = f"W{self.recipe.w_bits}A{self.recipe.a_bits}" if bits is None else f"W{bits:g}A{bits:g} on average"
        if "mean_w_bits" in stored:
            width = f"W{stored['mean_w_bits']:g}A{stored['mean_a_bits']:g} on average"
        weights_alone = f", {len(layers) - inside} more at W{max(alone)}" if alone else ""
        places = len(list(quantized_places(self.model.net)))
        between = f", {places} places between them" if places else ""
        return f"{inside} at {width}{between}{weights_alone}"


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
