"""Whether a network does what it was taken for: an enlarged photograph, shrunk again, must still be that photograph.

Names and shapes do not tell everything: the range a network was trained in, factors, sometimes the scale. A wrong guess
gives a wrong picture without an error. The check judges the shrunken picture, not detail, and so holds for networks
that invent texture, that denoise, or that do not enlarge at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dfsq.errors import CheckpointError, UsageError
from dfsq.evaluation.bicubic import downscale
from dfsq.images.samples import photograph
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks import Recognised

LEAST = 20.0
"""dB below which a network is refused. Bicubic interpolation reaches 33, networks in a wrong range mostly 6 to 30."""
SURE = 36.0
"""dB above which nothing else is tried: more than bicubic interpolation."""
MARGIN = 2.0
"""dB by which another reading of a checkpoint must be better to be taken instead of the usual one."""
CONTRADICTION = 6.0
"""dB by which what the caller excluded must be better to be insisted on."""
_TOP, _LEFT, _SIDE, _BORDER = 60, 200, 32, 4
"""Where the crop is cut, its height and width after halving, and what is not compared."""


class ImplausibleError(CheckpointError):
    """A network that does not return the picture it was given, however its checkpoint is read."""


@dataclass(frozen=True)
class _Reading:
    model: SRModel
    info: NetworkInfo
    """Fidelity included."""

    @property
    def fidelity(self) -> float:
        return -math.inf if self.info.fidelity is None else self.info.fidelity


def choose(recognised: Recognised, force: bool = False) -> SRModel:
    """The variant of ``recognised`` that the check confirms; what a user should know of the choice is in its ``notes``.

    Raises :class:`ImplausibleError` where none passes, unless ``force``, :class:`UsageError` where what the caller
    excluded is better than what is left, and :class:`CheckpointError` where the file's name and the check contradict
    each other.
    """
    usual = _read(recognised, recognised.variants[:1])[0]
    if usual.fidelity >= SURE and not _scale_is_open(recognised):
        return _settled(usual)
    readings = [usual, *_read(recognised, recognised.variants[1:], usual)]
    best = max(readings, key=lambda each: each.fidelity)
    if best.fidelity < SURE and (better := _better(best, _read(recognised, recognised.excluded, usual))):
        if not force:
            raise UsageError(f"{better}; leave `rgb_range` out, or use `force`")
        return _settled(usual, f"{better}; it was forced")
    if best.fidelity < LEAST:
        if not force:
            raise ImplausibleError(_refusal(recognised, readings))
        return _settled(usual, f"does not return the picture it was given ({usual.fidelity:.0f} dB); it was forced")
    if _scale_is_open(recognised):
        return _settled_scale(readings, best, usual)
    if best.fidelity - usual.fidelity < MARGIN and usual.fidelity >= LEAST:
        return _settled(usual)
    return _settled(best, _reason(best, usual))


@torch.no_grad()
def fidelity(model: SRModel) -> float:
    """PSNR in dB of a crop of a photograph that ``model`` enlarges and that is shrunk again, against itself."""
    lr = crop().to(next(iter(model.parameters())).device)
    try:
        enlarged = model(lr)[0]
    except RuntimeError as error:
        raise CheckpointError(f"the network cannot upscale a {_SIDE}×{_SIDE} image: {error}") from error
    picture = (enlarged.double() * 255).clamp(0, 255).permute(1, 2, 0).cpu().numpy()
    truth = (lr[0].double() * 255).permute(1, 2, 0).cpu().numpy()
    shrunk = downscale(picture, model.scale) if model.scale > 1 else picture
    inside = slice(_BORDER, -_BORDER)
    loss = float(np.square(shrunk - truth)[inside, inside].mean())
    return -math.inf if math.isnan(loss) else 10 * math.log10(255**2 / max(loss, 1e-9))


@cache
def crop() -> Tensor:
    """LR, ``(1, 3, 32, 32)`` in 0–1, rich in edges."""
    side = 2 * _SIDE
    picture = downscale(photograph("china")[_TOP : _TOP + side, _LEFT : _LEFT + side], 2)
    return torch.from_numpy(picture / 255).float().permute(2, 0, 1)[None]


def _read(recognised: Recognised, infos: Sequence[NetworkInfo], known: _Reading | None = None) -> list[_Reading]:
    """Variants with what the check says. Those that differ in their range alone share one network."""
    readings: list[_Reading] = []
    for info in infos:
        alike = next(
            (each for each in (*readings, *([known] if known else ())) if _same_network(each.info, info)), None
        )
        model = alike.model if alike else recognised.build(info)
        model.info = info
        readings.append(_Reading(model, replace(info, fidelity=fidelity(model))))
    return readings


def _same_network(first: NetworkInfo, second: NetworkInfo) -> bool:
    return first.hyperparameters == second.hyperparameters and first.scale == second.scale


def _settled(reading: _Reading, note: str = "") -> SRModel:
    reading.model.info = reading.info
    reading.model.notes += (note,) if note else ()
    return reading.model


def _scale_is_open(recognised: Recognised) -> bool:
    return len({info.scale for info in recognised.variants}) > 1


def _settled_scale(readings: Sequence[_Reading], best: _Reading, usual: _Reading) -> SRModel:
    chosen = best if best.fidelity - usual.fidelity >= MARGIN else usual
    scales = {each.info.scale: each for each in sorted(readings, key=lambda each: each.fidelity)}
    scores = ", ".join(f"×{scale} {each.fidelity:.0f} dB" for scale, each in sorted(scales.items()))
    if usual.info.found["scale"] == "file name":
        if chosen.info.scale != usual.info.scale:
            raise CheckpointError(f"its name says ×{usual.info.scale}, the check otherwise: {scores}; give `scale`")
        return _settled(chosen)
    found = {**chosen.info.found, "scale": "check"}
    note = f"taken as ×{chosen.info.scale}, which nothing but the check tells ({scores}); give `scale` for another"
    return _settled(_Reading(chosen.model, replace(chosen.info, found=found)), note)


def _reason(best: _Reading, usual: _Reading) -> str:
    taken, instead = _difference(best.info, usual.info)
    verdict = "fails the check" if usual.fidelity < LEAST else "is worse in the check"
    return f"{taken} taken, as {instead} {verdict} ({usual.fidelity:.0f} dB against {best.fidelity:.0f})"


def _difference(first: NetworkInfo, second: NetworkInfo) -> tuple[str, str]:
    """In what two variants differ, each in words."""
    names = [name for name, value in first.hyperparameters.items() if value != second.hyperparameters[name]]
    words: list[tuple[str, str]] = []
    if first.rgb_range != second.rgb_range:
        words.append((f"input range 0–{first.rgb_range:g}", f"0–{second.rgb_range:g}"))
    words += [(f"{name} {first.hyperparameters[name]}", f"{second.hyperparameters[name]}") for name in names]
    return " and ".join(each[0] for each in words), " and ".join(each[1] for each in words)


def _better(best: _Reading, excluded: Sequence[_Reading]) -> str:
    """What the caller excluded although it is better, in words, or ""."""
    for other in excluded:
        if other.fidelity >= max(LEAST, best.fidelity + CONTRADICTION):
            wrong, right = best.info.rgb_range, other.info.rgb_range
            return f"`rgb_range` {wrong:g} reaches {best.fidelity:.0f} dB in the check, {right:g} {other.fidelity:.0f}"
    return ""


def _refusal(recognised: Recognised, readings: Sequence[_Reading]) -> str:
    tried = ", ".join(f"{_described(each.info)}: {each.fidelity:.0f} dB" for each in readings)
    return (
        f"taken for {recognised.title}, it does not return the photograph that it was given to enlarge ({tried}; "
        f"at least {LEAST:.0f} needed); give `rgb_range`, `arch` or `arch_args`, or use `force`"
    )


def _described(info: NetworkInfo) -> str:
    open_values: Mapping[str, str] = {
        name: f"{name} {info.hyperparameters[name]}"
        for name, how in info.found.items()
        if name in info.hyperparameters and (name != "scale" or how in ("usual", "check", "file name"))
    }
    return " ".join([f"range {info.rgb_range:g}", *open_values.values()])
