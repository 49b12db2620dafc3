"""What a checkpoint may be: the result of recognising it, whoever does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Protocol

from torch import nn

from dfsq.errors import UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.architecture import Hyperparameters, State

RANGES = (1.0, 255.0)
"""Input ranges that super-resolution networks are trained in."""
OwnNetwork = str | Callable[..., nn.Module]
"""``FILE.py:NAME`` or ``MODULE:NAME``, or what makes the module."""


@dataclass(frozen=True)
class Wanted:
    """What the caller knows about a checkpoint, and its file name suggests; None and {} leave it to be found."""

    arch: OwnNetwork | None = None
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    """Hyper-parameters that override what shapes and habit say."""
    scale: int | None = None
    rgb_range: float | None = None
    named_scale: int | None = None
    """Scale that the file's name tells; counts only where the checkpoint leaves a choice."""


@dataclass(frozen=True)
class Recognised:
    """A checkpoint's network, with everything that names and shapes leave open."""

    title: str
    """The architecture as people cite it."""
    variants: tuple[NetworkInfo, ...]
    """What it may be, the most likely first; each tells how it was found."""
    excluded: tuple[NetworkInfo, ...]
    """What it might be, had the caller not said otherwise."""
    build: Callable[[NetworkInfo], SRModel]
    """The model of a variant, loaded."""


class Provider(Protocol):
    """A source of networks. Modules of this package are its instances."""

    def recognise(self, state: State, wanted: Wanted) -> Recognised | str:
        """What ``state`` is, or why this provider does not know it: "" where that is not its business.

        Raises :class:`UsageError` for a wish that it cannot fulfil, and :class:`~dfsq.errors.CheckpointError` for an
        incomplete state.
        """

    def owns(self, info: NetworkInfo) -> bool:
        """Whether this provider recognised the network that ``info`` describes."""

    def build(self, info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
        """Build the network that ``info`` describes and load ``state``, named as in its own module.

        ``arch`` is what makes a network of the user's own. Raises :class:`~dfsq.errors.CheckpointError` that lists
        missing, unexpected and misshapen parameters.
        """


def scale_in(name: str) -> int | None:
    """The scale that a file name tells, as in ``PANx3_DF2K.pth`` or ``4x-Net.pth``; None for none or several.

    >>> scale_in("PANx3_DF2K.pth"), scale_in("4x_net.pth"), scale_in("net_x2plus_64x64.pth"), scale_in("x2x4.pth")
    (3, 4, 2, None)
    """
    without_sizes = re.sub(r"[0-9]+[xX][0-9]+", "", name)  # 64x64, but also x2x4
    found = re.findall(r"[xX]([1-8])(?![0-9])|(?<![0-9A-Za-z])([1-8])[xX]", without_sizes)
    scales = {int(before or after) for before, after in found}
    return scales.pop() if len(scales) == 1 else None


def variants(
    info: NetworkInfo, hidden: Mapping[str, tuple[Any, ...]], stated_range: float | None, wanted: Wanted
) -> tuple[tuple[NetworkInfo, ...], tuple[NetworkInfo, ...]]:
    """All that a checkpoint may be, the most likely first, and what the caller's words exclude.

    ``info`` holds the usual values; ``hidden`` the values of hyper-parameters that no shape shows, and
    ``stated_range`` the range that the checkpoint's own values tell.
    """
    usual = wanted.rgb_range or stated_range or info.rgb_range
    ranges = [usual, *(each for each in RANGES if each != usual)]
    told = "option" if wanted.rgb_range else "mean colour in the file" if stated_range else "usual"
    allowed: list[NetworkInfo] = []
    excluded: list[NetworkInfo] = []
    for rgb_range, values in product(ranges, _choices(hidden, wanted)):
        own = NetworkInfo(
            architecture=info.architecture,
            hyperparameters={**info.hyperparameters, **values},
            scale=values.get("scale", info.scale),
            rgb_range=rgb_range,
            channels=info.channels,
            found={
                **info.found,
                "rgb_range": told if rgb_range == usual else "check",
                **{name: _told(name, value, hidden, wanted) for name, value in values.items()},
            },
            code=info.code,
        )
        fixed = wanted.rgb_range is not None and rgb_range != usual
        (excluded if fixed else allowed).append(own)
    return tuple(allowed), tuple(excluded)


def _choices(hidden: Mapping[str, tuple[Any, ...]], wanted: Wanted) -> Iterator[dict[str, Any]]:
    fixed = dict(wanted.arch_args) | ({} if wanted.scale is None else {"scale": wanted.scale})
    pools = []
    for name, values in hidden.items():
        if name in fixed:
            values = (fixed[name],)
        elif name == "scale" and wanted.named_scale in values:
            values = (wanted.named_scale, *(each for each in values if each != wanted.named_scale))
        pools.append([(name, value) for value in values])
    return (dict(choice) for choice in product(*pools))


def _told(name: str, value: Any, hidden: Mapping[str, tuple[Any, ...]], wanted: Wanted) -> str:
    if name in wanted.arch_args or (name == "scale" and wanted.scale is not None):
        return "option"
    if name == "scale" and wanted.named_scale in hidden[name]:
        return "file name" if value == wanted.named_scale else "check"
    return "usual" if value == hidden[name][0] else "check"


def overridden(hyperparameters: Hyperparameters, arch_args: Mapping[str, Any], title: str) -> Hyperparameters:
    """``hyperparameters`` with the caller's ``arch_args``. Raises :class:`UsageError` for an unknown one."""
    for name in arch_args:
        if name not in hyperparameters:
            known = ", ".join(hyperparameters)
            raise UsageError(f"`arch_args`: {title} has no hyper-parameter {name!r}; it has {known}")
    return {**hyperparameters, **arch_args}
