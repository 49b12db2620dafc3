"""Whether a header describes the network whose tensors are in the file."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature

import torch

from dfsq import networks
from dfsq.artifact.fields import label, shown
from dfsq.artifact.header import Header
from dfsq.model import SRModel
from dfsq.networks.architecture import Architecture
from dfsq.networks.bounded import Bounded
from dfsq.networks.strict import misfit

_MOST = 1e6
"""Largest hyper-parameter; no network has one that comes near."""
_TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_PROBE = 16
"""Height and width of the image that a network is tried on."""


def check_shapes(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError unless ``header`` describes a network with these ``shapes`` of parameters.

    Takes no memory for them.

    Does nothing for architectures that are not dfsq's own: they are known only once they are built.
    """
    architecture = _known(header)
    if architecture is None:
        return
    check_arguments(header)
    with torch.device("meta"):
        try:
            with Bounded(shapes):
                net = architecture.build(**header.hyperparameters)
        except Exception as error:  # numbers that nobody thought of: whatever a constructor makes of them
            raise ValueError(f"its hyperparameters make no network ({_first_line(error)})") from error
        if reason := misfit(net, {name: torch.empty(shape) for name, shape in shapes.items()}):
            raise ValueError(f"its tensors are not those of {architecture.title}: {reason}")


@torch.no_grad()
def check_output(header: Header, model: SRModel) -> None:
    """Raise ValueError unless the network of ``model`` takes the channels and has the scale that ``header`` says."""
    if header.code is not None:
        return  # a network of the user's own may not take so small an image
    image = torch.zeros(1, header.channels, _PROBE, _PROBE)
    try:
        found = tuple(model.net(image).shape)
    except RuntimeError as error:
        raise ValueError(f"channels is {header.channels}, which the network cannot take") from error
    expected = (1, header.channels, header.scale * _PROBE, header.scale * _PROBE)
    if found != expected:
        raise ValueError(f"scale is {header.scale}, but the network makes {found} of {tuple(image.shape)}")


def check_arguments(header: Header) -> None:
    """Raise ValueError for hyper-parameters of another type than the constructor's, negative or absurdly large ones."""
    architecture = _known(header)
    parameters = signature(architecture.build).parameters if architecture else {}
    for name, value in header.hyperparameters.items() if architecture else ():
        types = _TYPES.get(str(parameters[name].annotation)) if name in parameters else None
        if types is not None and type(value) not in types:
            raise ValueError(f"hyperparameters.{name} is {shown(value)}; it must be {parameters[name].annotation}")
        if isinstance(value, int | float) and not 0 <= value <= _MOST:
            raise ValueError(f"hyperparameters.{label(name)} is {shown(value)}; it must be from 0 to {_MOST:g}")


def _known(header: Header) -> Architecture | None:
    """The architecture in the registry; None for one of spandrel's, of the user's own, or made up."""
    return networks.architectures().get(header.architecture) if header.code is None else None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
