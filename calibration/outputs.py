"""Outputs of layers that are quantized too, for engines that pass integers from layer to layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from calibration.extremes import observe
from calibration.layers import Layer, LayerBits
from calibration.ranges import ChannelRanges, for_tensor
from calibration.sensitivity import Sensitivity
from dfsq.model import SRModel
from dfsq.nn import AffineQuantizer

_RECTIFIERS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


@torch.inference_mode()
def with_outputs(model: SRModel, plan: Mapping[str, LayerBits], image: Tensor) -> dict[str, LayerBits]:
    """``plan`` with the outputs of convolutions quantized where the next layer's input does not do it.

    What goes through a ReLU and nowhere else is quantized behind it. ``image``: LR ``(1, 3, H, W)`` in 0–1.
    """
    flow = _Flow()
    handles = []
    for name in plan:
        layer = model.net.get_submodule(name)
        if isinstance(layer, nn.Conv2d):
            handles.append(layer.register_forward_hook(lambda _, xs, y, name=name: flow.watch(name, y)))
    try:
        with flow:
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    rounded = {name for name, readers in flow.readers.items() if set(readers) != {True}}
    return {
        name: dataclasses.replace(bits, outputs=bits.a_bits is not None and name in rounded)
        for name, bits in plan.items()
    }


def make_output_quantizer(
    layer: Layer, inputs: Iterable[Tensor], bits: LayerBits, headroom: float
) -> AffineQuantizer | None:
    """The grid for what ``layer`` makes of ``inputs``, up to ``headroom`` times that, where ``bits`` ask for one."""
    if not bits.outputs or bits.a_bits is None:
        return None
    ranges = ChannelRanges(1)
    for each in inputs:
        ranges.observe(layer(each))
    ranges.reduce(layer.weight.device)
    return for_tensor(ranges, bits.a_bits, headroom, 1)


def output_errors(
    model: SRModel, plan: Mapping[str, LayerBits], images: Sequence[Tensor], sensitivities: Mapping[str, Sensitivity]
) -> dict[str, float]:
    """What rounding the output of each layer adds to the squared error of an output value of the network."""
    errors = {}
    for (name, side), ranges in observe(model, plan, images).items():
        bits = plan[name].a_bits
        if side == "outputs" and ranges.samples and bits is not None and name in sensitivities:
            step = for_tensor(ranges, bits, None, 1).scale.double().item()
            errors[name] = step**2 / 12 * float(sensitivities[name].outputs.diagonal().sum())
    return errors


class _Flow(TorchFunctionMode):
    """Notes who reads the outputs of layers: per layer and reader, whether it is a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: dict[str, list[bool]] = {}
        self._watched: dict[int, tuple[str, Tensor]] = {}

    def watch(self, name: str, output: Tensor) -> None:
        self.readers.setdefault(name, [])
        self._watched[id(output)] = name, output

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for each in _tensors((*args, *(kwargs or {}).values())):
            if id(each) in self._watched:
                self.readers[self._watched[id(each)][0]].append(func in _RECTIFIERS)
        return func(*args, **(kwargs or {}))


def _tensors(values: Any) -> list[Tensor]:
    found = []
    for each in values:
        if isinstance(each, Tensor):
            found.append(each)
        elif isinstance(each, list | tuple):
            found += _tensors(each)
    return found
