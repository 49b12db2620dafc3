"""The report: several models on several sets, with drops against the first model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dfsq.engines.description import Description
from dfsq.evaluation.results import Scores, SetResult


@dataclass(frozen=True)
class ModelReport:
    """One model and its scores."""

    name: str
    """What the user calls it: the file's name."""
    network: str
    """Architecture, or ``bicubic``."""
    scale: int
    sets: tuple[SetResult, ...]
    w_bits: float | None = None
    """Bits of the weights in body scope, where they differ on average; None in full precision."""
    a_bits: float | None = None
    size: int | None = None
    """Bytes of the file."""
    engine: Description | None = None
    """What computed the scores; None for bicubic interpolation, and in reports of earlier versions."""
    identified: Mapping[str, Any] = field(default_factory=dict)
    """Range and channels of the network, what the plausibility check gave, and how each was found; JSON types only."""
    artifact: Mapping[str, Any] | None = None
    """Header of the artifact, or what of it is told, and under ``parts`` the bytes of what it is made of; JSON types
    only. None for anything else."""
    seconds: float | None = None
    """What the engine takes for a megapixel of its output; None in torch, where quantized networks are emulated."""

    multiply_adds: Mapping[str, Any] | None = None
    """How those of a quantized network divide: what :class:`dfsq.networks.multiply_adds.Shares` tells, JSON types only.
    None in full precision, and for graphs that are files."""

    def set(self, name: str) -> SetResult | None:
        """Result on the set called ``name``, if there is one."""
        return next((each for each in self.sets if each.name == name), None)

    @property
    def recipe(self) -> str:
        """Name of the one by which an artifact was made; "" for anything else."""
        return str((self.artifact or {}).get("recipe", {}).get("name", ""))

    @property
    def parts(self) -> Mapping[str, int]:
        """Bytes of an artifact by what they are."""
        return dict((self.artifact or {}).get("parts", {}))

    @property
    def low_bits(self) -> dict[str, float | None]:
        """Shares, 0–1, of parameters that are stored at low bits and of multiply-adds of which both factors have such,
        and bit operations against those in float32; None where they are not known."""
        shares = self.multiply_adds
        return {
            "parameters": None if shares is None else sum(shares["parameters"].values()),
            "multiply_adds": None if shares is None else shares["inside"],
            "bit_operations": None if shares is None else shares["bit_operations"],
        }


@dataclass(frozen=True)
class Report:
    """Results of one run. The first model is what the others are compared with."""

    models: tuple[ModelReport, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth keeping, JSON types only: recipe, calibration, seconds."""

    def seconds_of(self, model: ModelReport) -> float | None:
        """What quantizing ``model`` took in this run; None where it was there before."""
        seconds = self.details.get("seconds")
        if isinstance(seconds, Mapping):
            return seconds.get(model.name)
        return seconds if model is self.models[-1] and len(self.models) > 1 else None

    @property
    def sets(self) -> tuple[SetResult, ...]:
        """The first model's results, which name the sets in order."""
        return self.models[0].sets

    def drop(self, model: ModelReport, set_name: str) -> Scores | None:
        """First model minus ``model`` on a set, in dB and SSIM; None for the first model and for unshared sets."""
        first, other = self.models[0].set(set_name), model.set(set_name)
        if model is self.models[0] or first is None or other is None:
            return None
        return difference(first.mean, other.mean)


def difference(first: Scores, second: Scores) -> Scores:
    """``first`` − ``second``, score by score; 0 where both are infinite."""
    return Scores(
        *(
            0.0 if a == b else a - b
            for a, b in (
                (first.psnr_y, second.psnr_y),
                (first.ssim_y, second.ssim_y),
                (first.psnr_rgb, second.psnr_rgb),
                (first.ssim_rgb, second.ssim_rgb),
            )
        )
    )


def shown(value: float | None, digits: int, signed: bool = False) -> str:
    """A score as people read it: rounded, ``∞`` for identical images, a dash for none."""
    if value is None:
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:{'+' if signed else ''}.{digits}f}"


def bits_of(model: ModelReport) -> str:
    """``W4A4``, or ``FP32`` in full precision."""
    return "FP32" if model.w_bits is None else f"W{model.w_bits:g}A{model.a_bits:g}"


def size_text(count: float) -> str:
    """Bytes as people read them: 887.9 kB, 5.48 MB."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
