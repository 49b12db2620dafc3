"""Sequential calibration: layers are quantized in execution order, each on what the quantized network gives it.

Both networks run side by side: a batch holds every image twice, once as in full precision and once as quantized so far.
A layer is quantized the moment all batches have come to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from calibration.calls import count_calls
from calibration.compensation import Moments, Products, corrected
from calibration.descent import fitted
from calibration.given import Given, Pairs, outputs_of, rows_of
from calibration.layers import Layer, LayerBits, Rounding, adapted, make_weight, round_bias
from calibration.lockstep import Lockstep
from calibration.models import with_own_state
from calibration.progress import Progress
from calibration.ranges import ChannelRanges
from calibration.sensitivity import Sensitivity
from calibration.shelf import Shelf
from calibration.workers import Workers
from dfsq import distributed
from dfsq.model import SRModel
from dfsq.nn import InputQuantizer, QuantizedLayer, channel_axis, counterpart, replace
from dfsq.quantizers.weights import QuantizedWeight

_TOGETHER = 2
"""Images of a batch."""
_MEMORY = 200 << 20
_FARTHEST = 2.0
"""Multiple of what a channel reaches in full precision that ranges hold. At 2 bits the values of a patch may grow from
layer to layer, and nothing would stop those of other images if ranges grew with them."""
_SMALL = 0.1
"""Share of the largest reach that every channel is granted."""


@torch.no_grad()
def quantize_layers(
    model: SRModel,
    plan: Mapping[str, LayerBits],
    operands: Mapping[str, int],
    images: Tensor,
    sensitivities: Mapping[str, Sensitivity],
    rounding: Rounding,
    extremes: Mapping[str, ChannelRanges],
    progress: Progress,
    memory: int = _MEMORY,
) -> Mapping[str, nn.Module]:
    """Quantize the layers in ``plan`` of ``model``, and the operands of attention's products, whose bits ``operands``
    tells, in place, on LR ``images`` ``(N, 3, H, W)`` in 0–1. Returns by name what is quantized.

    Every layer gets points for what the layers before it now give, then weights and a bias that bring its output
    closest to what it was in full precision. Layers that no image reaches are rounded to the nearest. Several processes
    share the images, the channels that points are selected for, and the groups of a layer whose weights are rounded.
    ``memory``: bytes of maps that wait there; those beyond wait in a file.
    """
    calls = count_calls(model, [*plan, *operands], images[:1])
    workers = Workers(images.device)
    steps: _Steps = Lockstep(Shelf(memory), workers)
    twins, unreached = {}, {}
    for name, known in calls.items():
        module = model.net.get_submodule(name)
        if known.number:
            twins[name] = _Twin(name, module, known.number, steps)
            replace(model.net, name, twins[name])
        elif name in plan:
            unreached[name] = counterpart(module, make_weight(module.weight, plan[name], rounding), None)
    batches = torch.split(images, _TOGETHER)
    done, work, whole = 0, 0.0, sum(each.work for each in calls.values())

    def meet(name: str, heard: Sequence[Sequence[Tensor]]) -> None:
        nonlocal done, work
        progress("Compensating", done, len(calls), "", work / whole if whole else None)
        done, work = done + 1, work + calls[name].work
        given, twin = Given(heard, len(batches), workers), twins[name]
        if name in operands:
            twin.quantized = _input_quantizer(twin.module, given, operands[name], None, rounding, None)
        else:
            known = sensitivities.get(name)
            twin.quantized = quantize_layer(twin.module, given, plan[name], known, rounding, extremes.get(name))

    own = [each for index, each in enumerate(batches) if distributed.is_mine(index)]
    # A process that has no batch goes along with one that is not its own, and is never asked for it.
    passes = [_Pass(with_own_state(model, twins.values()), torch.cat([each, each])) for each in own or batches[:1]]
    steps.run(passes, meet)
    quantized = {name: twin.quantized for name, twin in twins.items() if twin.quantized is not None} | unreached
    for name, each in quantized.items():
        replace(model.net, name, each)
    progress("Compensating", len(calls), len(calls))
    return quantized


def quantize_layer(
    layer: Layer,
    given: Given,
    bits: LayerBits,
    sensitivity: Sensitivity | None,
    rounding: Rounding,
    extremes: ChannelRanges | None,
) -> QuantizedLayer:
    """Quantize ``layer`` on what it is ``given``. The range of its input goes as far as ``extremes``."""
    quantizer, device = None, layer.weight.device
    if bits.a_bits is not None:
        quantizer = _input_quantizer(layer, given, bits.a_bits, sensitivity, rounding, extremes).to(device)
        layer = adapted(layer, quantizer)
    rows = layer.weight.detach().flatten(1).chunk(getattr(layer, "groups", 1))
    moments = [Moments(*each.shape) for each in rows]
    for found in given.each(partial(_products, layer, quantizer)):
        for each, products in zip(moments, found, strict=True):
            each.include(products)
    weight = _compensate(layer, moments, bits, sensitivity, rounding)
    result = counterpart(layer, weight, quantizer)
    if layer.bias is not None:
        # What rounding does to the mean of an output, its bias makes up for.
        rounded = weight.dequantize().double().flatten(1).chunk(len(moments))
        shift = [each.means[0] - one @ each.means[1] for one, each in zip(rounded, moments, strict=True)]
        result.bias = nn.Parameter(layer.bias + torch.cat(shift).to(layer.bias), requires_grad=False)
    output_quantizer = rounding.output_quantizer(result, given.quantized(), bits)
    if output_quantizer is not None:
        result.output_quantizer = output_quantizer.to(device)
    return round_bias(result)


def _input_quantizer(
    module: nn.Module,
    given: Given,
    bits: int,
    sensitivity: Sensitivity | None,
    rounding: Rounding,
    extremes: ChannelRanges | None,
) -> InputQuantizer:
    observer, axis = rounding.observer(module, extremes), channel_axis(module)
    reach = given.reach(axis)
    most = _FARTHEST * torch.maximum(reach, _SMALL * reach.max())
    device = torch.device("cpu")
    for y in given.quantized():
        observer.observe(_within(y, most.to(y), axis))
        device = y.device
    observer.reduce(device)
    return rounding.input_quantizer(module, observer, bits, sensitivity).to(device)


def _within(y: Tensor, most: Tensor, axis: int) -> Tensor:
    """``y`` with the channels that ``axis`` counts no larger than ``most``, ``(C,)``: itself where that holds."""
    limits = most.view([-1 if each == axis % y.dim() else 1 for each in range(y.dim())])
    return y if bool((y.abs() <= limits).all()) else torch.clamp(y, -limits, limits)


def _products(layer: Layer, quantizer: InputQuantizer | None, pairs: Pairs) -> list[Products]:
    """Of what the weights of each group of ``layer`` are multiplied with."""
    rows = layer.weight.flatten(1).chunk(getattr(layer, "groups", 1))
    found = [Products(len(each), each.shape[1], each.device) for each in rows]
    for x, y in pairs:
        if quantizer is not None:
            x, y = quantizer.rescaled(x), quantizer(y)
        at_once = len(x) if isinstance(layer, nn.Linear) else 1  # what is unfolded takes nine times the memory
        for one, other in zip(torch.split(x, at_once), torch.split(y, at_once), strict=True):
            for each, outputs, quantized in zip(found, outputs_of(layer, one), rows_of(layer, other), strict=True):
                each.add(outputs, quantized)
    return found


def _compensate(
    layer: Layer, moments: Sequence[Moments], bits: LayerBits, sensitivity: Sensitivity | None, rounding: Rounding
) -> QuantizedWeight:
    original = layer.weight.detach().double().cpu()
    rows = original.flatten(1).chunk(len(moments))
    seconds = [each.second(row, layer.bias is not None) for each, row in zip(moments, rows, strict=True)]
    aims = [corrected(row, *second) for row, second in zip(rows, seconds, strict=True)]
    weight = make_weight(torch.cat(aims).reshape(original.shape).float(), bits, rounding)
    levels, elements, scales = weight.levels().chunk(len(moments)), weight.elements(), weight.column_scales().double()
    choices = [None] * len(moments) if elements is None else elements.chunk(len(moments))
    outputs = _blocks(sensitivity, len(moments))
    groups = [
        (aim / scales, level, choice, hessian * scales.outer(scales), output)
        for aim, level, choice, (hessian, _), output in zip(aims, levels, choices, seconds, outputs, strict=True)
    ]
    found = distributed.share(groups, lambda each: fitted(*each))
    codes, fits = (torch.cat(each) for each in zip(*found, strict=True))
    return weight.fitted(codes.reshape(original.shape), fits)


def _blocks(sensitivity: Sensitivity | None, groups: int) -> Sequence[Tensor | None]:
    """The sensitivity of each group's outputs."""
    if sensitivity is None:
        return [None] * groups
    return [row.chunk(groups, 1)[index] for index, row in enumerate(sensitivity.outputs.chunk(groups))]


class _Reached(Exception):  # noqa: N818 - not an error
    """The layer that listens has been given all its inputs."""


class _Pass:
    """A pass of both networks over one batch, and who listens to it instead of waiting for the others."""

    def __init__(self, model: SRModel, both: Tensor) -> None:
        self._model = model
        self._both = both
        self.listener: _Twin | None = None
        self.heard: list[Tensor] = []

    def __call__(self) -> None:
        self._model(self._both)

    def heard_by(self, twin: _Twin) -> list[Tensor]:
        """The inputs of all calls of ``twin``: those to come as they are without it."""
        self.listener = twin
        self.heard = []
        try:
            self()
        except _Reached:
            pass
        finally:
            self.listener = None
        return self.heard


_Steps = Lockstep[_Pass, Sequence[Tensor]]


class _Twin(nn.Module):
    """Both versions of a layer or place: half of a batch goes through the one, half through the other."""

    def __init__(self, name: str, module: nn.Module, calls: int, steps: _Steps) -> None:
        super().__init__()
        self.name = name
        self.module: Any = module
        self.quantized: QuantizedLayer | InputQuantizer | None = None
        self._calls = calls
        self._steps = [steps]  # in a list, as its passes hold the network that holds this module

    def forward(self, both: Tensor) -> Tensor:
        steps = self._steps[0]
        run = steps.running
        if run.listener is self:
            run.heard.append(both)
            if len(run.heard) == self._calls:
                raise _Reached
        elif run.listener is None and self.quantized is None:
            steps.wait(self.name, [both] if self._calls == 1 else run.heard_by(self))
        x, y = both.chunk(2)
        return torch.cat([self.module(x), (self.quantized or self.module)(y)])
