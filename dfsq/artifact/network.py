"""Whether a header describes the network whose tensors are in the file: found out on shapes, before memory is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import nn

from dfsq import networks
from dfsq.artifact.fields import label, shown
from dfsq.artifact.header import Header
from dfsq.networks.bounded import Bounded
from dfsq.networks.strict import load_strictly

_MOST = 1e6
"""Largest hyper-parameter; no network has one that comes near."""
_TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_PROBE = 64
"""Height and width of the image that is traced."""


def check_network(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError or :class:`~dfsq.errors.DfsqError` unless ``header`` describes a network with these ``shapes``
    of parameters, whose output has the scale and the channels that the header says.

    Does nothing for architectures that are not dfsq's own: they are known only once they are built.
    """
    architecture = networks.architectures().get(header.architecture)
    if architecture is None:
        return
    _check_arguments(architecture.build, header.hyperparameters)
    with torch.device("meta"), torch.no_grad():
        net = _built(architecture.build, header.hyperparameters, shapes)
        load_strictly(net, {name: torch.empty(shape) for name, shape in shapes.items()}, architecture.title)
        image = torch.empty(1, header.channels, _PROBE, _PROBE)
        try:
            found = tuple(net.eval()(image).shape)
        except RuntimeError as error:
            raise ValueError(f"it cannot take {header.channels} channels ({_first_line(error)})") from error
    expected = (1, header.channels, header.scale * _PROBE, header.scale * _PROBE)
    if found != expected:
        raise ValueError(f"its output for a 64×64 image has the shape {found} instead of {expected}")


def _built(
    build: Callable[..., nn.Module], arguments: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> nn.Module:
    try:
        with Bounded(shapes):
            return build(**arguments)
    except Exception as error:  # numbers that nobody thought of: whatever a constructor makes of them
        raise ValueError(f"its hyperparameters make no network ({_first_line(error)})") from error


def _check_arguments(build: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for hyper-parameters of another type than the constructor's, or absurdly large ones."""
    parameters = signature(build).parameters
    for name, value in arguments.items():
        types = _TYPES.get(str(parameters[name].annotation)) if name in parameters else None
        if types is not None and type(value) not in types:
            raise ValueError(f"hyperparameters.{name} is {shown(value)}; it must be {parameters[name].annotation}")
        if isinstance(value, int | float) and not 0 <= value <= _MOST:
            raise ValueError(f"hyperparameters.{label(name)} is {shown(value)}; it must be from 0 to {_MOST:g}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
