"""Every other architecture, through spandrel (the extra ``dfsq[zoo]``), which is imported only when needed.

The network keeps spandrel's parameter names; its registry name is ``spandrel:`` and spandrel's architecture id.
All hyper-parameters but the scale follow from the state itself.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks.architecture import State
from dfsq.networks.blocks import pad_to_multiple
from dfsq.networks.recognition import OwnNetwork, Recognised, Wanted, variants
from dfsq.networks.scope import body_scope
from dfsq.networks.strict import load_strictly

PREFIX = "spandrel:"
"""What the name of every architecture from here begins with."""
_ERRORS = (LookupError, ValueError, ArithmeticError, TypeError, AttributeError, AssertionError, RuntimeError)
"""What spandrel's networks raise on a state or an image that they cannot process."""


def recognise(state: State, wanted: Wanted) -> Recognised | str:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    if isinstance(wanted.arch, str) and not wanted.arch.startswith(PREFIX):
        return ""
    try:
        model = from_state(state, scale=wanted.scale, rgb_range=None, own_verdict="spandrel")
    except CheckpointError as error:
        return str(error)
    allowed, excluded = variants(model.info, {}, None, wanted)

    def built(info: NetworkInfo) -> SRModel:
        model.info = info
        return model

    return Recognised(model.info.architecture, allowed, excluded, built)


def owns(info: NetworkInfo) -> bool:
    """See :class:`~dfsq.networks.recognition.Provider`."""
    return info.architecture.startswith(PREFIX)


def from_state(state: State, *, scale: int | None, rgb_range: float | None, own_verdict: str) -> SRModel:
    """Let spandrel recognise the network of ``state``.

    ``own_verdict`` says what dfsq itself tried; it begins every message that tells of an unknown network.
    Raises :class:`CheckpointError` where spandrel is absent or broken, does not know the network either, or
    knows it as something else than RGB super-resolution or restoration, and :class:`UsageError` for a
    ``scale`` that is not the network's.
    """
    spandrel = _spandrel(own_verdict)
    try:
        descriptor = spandrel.MAIN_REGISTRY.load(dict(state))
    except spandrel.UnsupportedModelError:
        raise CheckpointError(f"{own_verdict}; spandrel does not know it either") from None
    except _ERRORS as error:
        raise CheckpointError(f"{own_verdict}; spandrel fails to load it: {_first_line(error)}") from error
    title = f"spandrel's {descriptor.architecture.name}"
    if descriptor.purpose not in ("SR", "Restoration"):
        raise CheckpointError(f"{title} is made for {descriptor.purpose}, not for super-resolution")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        channels = f"{descriptor.input_channels} to {descriptor.output_channels}"
        raise CheckpointError(f"this variant of {title} maps {channels} channels; only RGB to RGB is supported")
    if scale is not None and scale != descriptor.scale:
        raise UsageError(f"--scale {scale}, but this {title} checkpoint upscales by {descriptor.scale}")
    info = NetworkInfo(
        architecture=f"{PREFIX}{descriptor.architecture.id}",
        hyperparameters={"scale": descriptor.scale},
        scale=descriptor.scale,
        rgb_range=1.0 if rgb_range is None else rgb_range,
    )
    image = torch.rand(1, 3, 45, 37, generator=torch.Generator().manual_seed(0))
    try:
        _check_reloadable(descriptor, state)
        expected = descriptor(image.clone())  # some networks change their input
        model = _model(descriptor, info, recompute=True)
        _check_same(model.net, image, expected)
    except _ERRORS as error:
        raise CheckpointError(f"this variant of {title} is not supported: {_first_line(error)}") from error
    return model


def build(info: NetworkInfo, state: State, arch: OwnNetwork | None = None) -> SRModel:
    """Build the network that ``info`` describes and load ``state``, named as :func:`from_state` names it.

    Raises :class:`CheckpointError` where spandrel is absent or too old, or ``state`` does not fit.
    """
    spandrel = _spandrel(f"{info.architecture} networks need spandrel")
    known = spandrel.MAIN_REGISTRY.get(info.architecture.removeprefix(PREFIX))
    if known is None:
        raise CheckpointError(f"this version of spandrel does not know {info.architecture}; upgrade spandrel")
    try:
        descriptor = known.architecture.load(_with_training_weights(state))
    except _ERRORS as error:
        raise CheckpointError(f"the state does not fit {info.architecture}: {_first_line(error)}") from error
    model = _model(descriptor, info, recompute=False)
    load_strictly(model.net, state, info.architecture)
    return model


class AnySize:
    """Mixed into a spandrel network: pads its input to a size that it can process, and crops its output."""

    dfsq_requirements: Any
    dfsq_scale: int

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(N, 3, H, W)`` of any height and width."""
        height, width = x.shape[-2:]
        needs = self.dfsq_requirements
        minimum = max(height, width, needs.minimum) if needs.square else needs.minimum
        padded = pad_to_multiple(x, needs.multiple_of, minimum)
        output: Tensor = super().forward(padded)  # type: ignore[misc]
        return output[..., : height * self.dfsq_scale, : width * self.dfsq_scale]


def _model(descriptor: Any, info: NetworkInfo, recompute: bool) -> SRModel:
    net = descriptor.model.eval()
    _fuse(net, recompute)
    # A subclass rather than a wrapper: parameters keep their names.
    net.__class__ = type(type(net).__name__, (AnySize, type(net)), {})
    net.dfsq_requirements = descriptor.size_requirements
    net.dfsq_scale = descriptor.scale
    return SRModel(net, info, body_scope(net, None))


def _fuse(net: nn.Module, recompute: bool) -> None:
    """Keep of SPAN's multi-branch convolutions only the one that inference uses.

    spandrel computes its weights anew in every forward pass, which would undo their quantization.
    """
    for name, block in list(net.named_modules()):
        if hasattr(block, "eval_conv") and hasattr(block, "update_params"):
            if recompute:
                block.update_params()
            parent, _, attribute = name.rpartition(".")
            fused = nn.Sequential(OrderedDict(eval_conv=block.eval_conv))
            setattr(net.get_submodule(parent), attribute, fused)


def _with_training_weights(state: State) -> State:
    """Add zeros for what :func:`_fuse` leaves out, by which spandrel recognises and sizes SPAN."""
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


def _check_reloadable(descriptor: Any, state: State) -> None:
    """Raise ValueError unless spandrel recognises the network again by its own parameter names."""
    own = descriptor.model.state_dict()
    if own.keys() != state.keys():
        again = descriptor.architecture.load(dict(own))
        if (again.scale, again.input_channels) != (descriptor.scale, descriptor.input_channels):
            raise ValueError("spandrel renames its parameters beyond recognition")


@torch.no_grad()
def _check_same(net: nn.Module, image: Tensor, expected: Tensor) -> None:
    """Raise ValueError unless a plain call does what spandrel does, which for some networks is more."""
    batch = torch.cat((image, image)).contiguous(memory_format=torch.channels_last)
    result = net(batch).clamp(0, 1)
    if result.shape[1:] != expected.shape[1:] or (result - expected).abs().max() > 1 / 255:
        raise ValueError("it needs its input or output converted")


def _spandrel(own_verdict: str) -> Any:
    try:
        return importlib.import_module("spandrel")
    except ModuleNotFoundError as error:
        if error.name == "spandrel":
            hint = "pip install 'dfsq[zoo]' to try spandrel's architectures"
            raise CheckpointError(f"{own_verdict}; {hint}") from None
        raise CheckpointError(f"{own_verdict}; spandrel cannot be imported: {_first_line(error)}") from error
    except Exception as error:  # a torchvision built for another torch raises RuntimeError, OSError, …
        raise CheckpointError(f"{own_verdict}; spandrel cannot be imported: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
