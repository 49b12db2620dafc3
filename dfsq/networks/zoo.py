"""Every other architecture, through spandrel (the extra ``dfsq[zoo]``), which is imported only when needed.

The network keeps spandrel's parameter names; its registry name is ``spandrel:`` and spandrel's architecture id, its
hyper-parameters are the description of :mod:`dfsq.networks.spandrel_network`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.architecture import State
from dfsq.networks.bounded import Bounded
from dfsq.networks.recognition import OwnNetwork, Recognised, Wanted, variants
from dfsq.networks.scope import body_scope
from dfsq.networks.spandrel_network import computed_buffers, construct, describe, keep_inference_branch, leave_out
from dfsq.networks.strict import load_strictly
from dfsq.networks.torchvision_operators import import_module

PREFIX = "spandrel:"
"""What the name of every architecture from here begins with."""
_CHANNELS = {(3, 3): 3, (1, 1): 1}
"""Channels of a network that takes and gives as many, by (input, output): RGB or luminance."""
_ERRORS = (LookupError, ValueError, ArithmeticError, TypeError, AttributeError, AssertionError, RuntimeError)
"""What spandrel's networks raise on a state, an image or arguments that they cannot process."""


def recognise(state: State, wanted: Wanted) -> Recognised | str:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    arch = wanted.arch.lower() if isinstance(wanted.arch, str) else wanted.arch
    if arch is not None and not (isinstance(arch, str) and arch.startswith(PREFIX)):
        return ""
    try:
        model = _recognised(_spandrel(), state)
    except CheckpointError as error:
        return str(error)
    info = model.info
    if arch not in (None, info.architecture.lower()):
        return f"spandrel knows it as {info.architecture}"
    if wanted.arch_args:
        raise UsageError("`arch_args`: spandrel's networks take none; their files tell everything")
    if wanted.scale not in (None, info.scale):
        raise UsageError(f"`scale` {wanted.scale}, but this {info.architecture} checkpoint upscales by {info.scale}")
    allowed, excluded = variants(info, {}, None, wanted)

    def built(info: NetworkInfo) -> SRModel:
        model.info = info
        return model

    return Recognised(info.architecture, allowed, excluded, built)


def owns(info: NetworkInfo) -> bool:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    return info.architecture.startswith(PREFIX)


def build(info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
    """See :class:`~dfsq.networks.recognition.Provider`; also where spandrel is absent or too old."""
    try:
        spandrel = _spandrel()
    except CheckpointError as error:
        raise CheckpointError(f"{info.architecture} needs spandrel: {error}") from error
    known = spandrel.MAIN_REGISTRY.get(info.architecture.removeprefix(PREFIX))
    if known is None:
        raise CheckpointError(f"this version of spandrel does not know {info.architecture}; upgrade spandrel")
    try:
        if "network" not in info.hyperparameters:  # written before descriptions were
            descriptor = known.architecture.load(_with_training_weights(state))
            info = replace(info, hyperparameters=describe(descriptor))
        return _load(construct(known.architecture, info.hyperparameters, state), info, state)
    except _ERRORS as error:
        raise CheckpointError(f"the state does not fit {info.architecture}: {_first_line(error)}") from error


def _recognised(spandrel: Any, state: State) -> SRModel:
    """The network that spandrel takes ``state`` for.

    Raises :class:`CheckpointError` where it does not know the network, or knows it as something else than RGB or
    luminance super-resolution or restoration.
    """
    try:
        with Bounded({name: tuple(tensor.shape) for name, tensor in state.items()}):
            descriptor = spandrel.MAIN_REGISTRY.load(dict(state))
    except spandrel.UnsupportedModelError:
        raise CheckpointError("spandrel does not know it either") from None
    except _ERRORS as error:
        raise CheckpointError(f"spandrel fails to load it: {_first_line(error)}") from error
    title = f"spandrel's {descriptor.architecture.name}"
    if descriptor.purpose not in ("SR", "Restoration"):
        raise CheckpointError(f"{title} is made for {descriptor.purpose}, not for super-resolution")
    channels = _CHANNELS.get((descriptor.input_channels, descriptor.output_channels))
    if channels is None:
        maps = f"{descriptor.input_channels} to {descriptor.output_channels}"
        raise CheckpointError(f"this variant of {title} maps {maps} channels; only 3 to 3 and 1 to 1 are supported")
    try:
        return _rebuilt(descriptor, channels)
    except _ERRORS as error:
        raise CheckpointError(f"this variant of {title} is not supported: {_first_line(error)}") from error


def _rebuilt(descriptor: Any, channels: int) -> SRModel:
    """The network of ``descriptor``, built as a reader of its artifact will build it."""
    image = torch.rand(1, channels, 45, 37, generator=torch.Generator().manual_seed(0))
    expected = descriptor(image.clone())  # some networks change their input
    keep_inference_branch(descriptor.model, recompute=True)
    state = descriptor.model.state_dict()
    description = describe(descriptor)
    net = construct(descriptor.architecture, description, state)
    computed = computed_buffers(net, state)
    info = NetworkInfo(
        architecture=f"{PREFIX}{descriptor.architecture.id}",
        hyperparameters={**description, "computed": computed},
        scale=descriptor.scale,
        rgb_range=1.0,
        channels=channels,
        found={"architecture": "parameter names, by spandrel", "scale": "shapes, by spandrel"},
    )
    model = _load(net, info, {name: state[name] for name in state if name.rpartition(".")[2] not in computed})
    _check_same(model.net, image, expected)
    return model


def _load(net: nn.Module, info: NetworkInfo, state: State) -> SRModel:
    leave_out(net, info.hyperparameters["computed"])
    load_strictly(net, state, info.architecture)
    return SRModel(net, info, body_scope(net, None, info.channels))


def _with_training_weights(state: State) -> State:
    """Add zeros for what :func:`keep_inference_branch` leaves out, by which spandrel recognises and sizes SPAN."""
    complete = dict(state)
    for key in state:
        block, found, _ = key.partition(".eval_conv.weight")
        if not found or f"{block}.sk.weight" in state:
            continue
        outputs, inputs = state[key].shape[:2]
        shapes = {
            "sk": (outputs, inputs, 1, 1),
            "conv.0": (2 * inputs, inputs, 1, 1),
            "conv.1": (2 * outputs, 2 * inputs, 3, 3),
            "conv.2": (outputs, 2 * outputs, 1, 1),
        }
        for name, shape in shapes.items():
            complete[f"{block}.{name}.weight"] = torch.zeros(shape)
            complete[f"{block}.{name}.bias"] = torch.zeros(shape[0])
    return complete


@torch.no_grad()
def _check_same(net: nn.Module, image: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless a plain call does what spandrel does, which for some networks is more."""
    batch = torch.cat((image, image)).contiguous(memory_format=torch.channels_last)
    result = net(batch).clamp(0, 1)
    if result.shape[1:] != expected.shape[1:] or (result - expected).abs().max() > 1 / 255:
        raise ValueError("it needs its input or output converted")


def _spandrel() -> Any:
    try:
        return import_module("spandrel")
    except ModuleNotFoundError as error:
        if error.name == "spandrel":
            raise CheckpointError("pip install 'dfsq[zoo]' to try spandrel's architectures") from None
        raise CheckpointError(f"spandrel cannot be imported: {_first_line(error)}") from error
    except Exception as error:  # a torchvision built for another torch raises RuntimeError, OSError, …
        raise CheckpointError(f"spandrel cannot be imported: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
