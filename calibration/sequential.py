"""Sequential calibration: layers are quantized in execution order, each on what the quantized network gives it.

Both networks run side by side in one pass: the batch holds every image twice, once as in full precision and once as
quantized so far. A layer is quantized the moment its inputs arrive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.compensation import Moments, compensated, corrected
from calibration.layers import Layer, LayerBits, Rounding, adapted, make_weight, round_bias
from calibration.progress import Progress
from calibration.ranges import ChannelRanges
from calibration.sensitivity import Sensitivity
from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, counterpart, replace
from dfsq.quantizers.weights import QuantizedWeight

_EVERY = 2
"""Every how many rows and columns of a map count for the moments: neighbours tell little new."""


@torch.inference_mode()
def quantize_layers(
    model: SRModel,
    plan: Mapping[str, LayerBits],
    images: Tensor,
    sensitivities: Mapping[str, Sensitivity],
    rounding: Rounding,
    extremes: Mapping[str, ChannelRanges],
    progress: Progress,
) -> None:
    """Quantize the layers in ``plan`` of ``model``, in place, on LR ``images`` ``(N, 3, H, W)`` in 0–1.

    Every layer gets points for what the layers before it now give, then weights and a bias that bring its output
    closest to what it was in full precision. Layers that no image reaches are rounded to the nearest.
    """
    calls = _count_calls(model, list(plan), images[:1])
    run = _Run(model, torch.cat([images, images]))
    done = 0

    def quantize(name: str, layer: Layer, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> QuantizedLayer:
        nonlocal done
        progress("Compensating", done, len(plan))
        done += 1
        return quantize_layer(layer, xs, ys, plan[name], sensitivities.get(name), rounding, extremes.get(name))

    twins = {}
    for name, bits in plan.items():
        layer: Layer = model.net.get_submodule(name)
        if calls[name]:
            twins[name] = _Twin(name, layer, calls[name], quantize, run)
            replace(model.net, name, twins[name])
        else:
            replace(model.net, name, counterpart(layer, make_weight(layer.weight, bits, rounding), None))
    model(run.both)
    for name, twin in twins.items():
        assert twin.quantized is not None
        replace(model.net, name, twin.quantized)
    progress("Compensating", len(plan), len(plan))


def quantize_layer(
    layer: Layer,
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    bits: LayerBits,
    sensitivity: Sensitivity | None,
    rounding: Rounding,
    extremes: ChannelRanges | None,
) -> QuantizedLayer:
    """Quantize ``layer``, whose inputs are ``xs`` in full precision and ``ys`` in the quantized network.

    The range of its input goes as far as ``extremes``.
    """
    quantizer, given = None, ys
    if bits.a_bits is not None:
        observer = rounding.observer(layer, extremes)
        for y in ys:
            observer.observe(y)
        quantizer = rounding.input_quantizer(layer, observer, bits.a_bits, sensitivity).to(layer.weight.device)
        layer, xs, ys = adapted(layer, quantizer), [quantizer.rescaled(x) for x in xs], [quantizer(y) for y in ys]
    moments = [Moments(layer.weight[0].numel()) for _ in range(getattr(layer, "groups", 1))]
    for x, y in zip(xs, ys, strict=True):
        for one, other in zip(torch.split(x, 1), torch.split(y, 1), strict=True):
            for each, rows, quantized_rows in zip(moments, rows_of(layer, one), rows_of(layer, other), strict=True):
                each.add(rows, quantized_rows)
    weight = _compensate(layer, moments, bits, sensitivity, rounding)
    result = counterpart(layer, weight, quantizer)
    if layer.bias is not None:
        # What rounding does to the mean of an output, its bias makes up for.
        rounded = weight.dequantize().double().flatten(1).chunk(len(moments))
        before = layer.weight.detach().double().cpu().flatten(1).chunk(len(moments))
        shift = [
            one @ each.means[0] - other @ each.means[1]
            for one, other, each in zip(before, rounded, moments, strict=True)
        ]
        result.bias = nn.Parameter(layer.bias + torch.cat(shift).to(layer.bias), requires_grad=False)
    output_quantizer = rounding.output_quantizer(result, given, bits)
    if output_quantizer is not None:
        result.output_quantizer = output_quantizer.to(result.weight.device)
    return round_bias(result)


def rows_of(layer: Layer, x: Tensor) -> list[Tensor]:
    """What every weight of ``layer`` is multiplied with, at one position in four: ``(positions, K)`` per group."""
    if isinstance(layer, nn.Linear):
        return [x.reshape(-1, x.shape[-1])[:: _EVERY**2]]
    stride = (_EVERY * layer.stride[0], _EVERY * layer.stride[1])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(x, layer._reversed_padding_repeated_twice, mode)  # "same" is other numbers on opposite sides
    columns = F.unfold(padded, layer.kernel_size, layer.dilation, 0, stride)  # (1, C·kh·kw, positions)
    return [each[0].T for each in columns.chunk(layer.groups, dim=1)]


def _compensate(
    layer: Layer, moments: Sequence[Moments], bits: LayerBits, sensitivity: Sensitivity | None, rounding: Rounding
) -> QuantizedWeight:
    original = layer.weight.detach().double().cpu()
    seconds = [each.second(centered=layer.bias is not None) for each in moments]
    rows = original.flatten(1).chunk(len(moments))
    aims = [corrected(row, *second) for row, second in zip(rows, seconds, strict=True)]
    weight = make_weight(torch.cat(aims).reshape(original.shape).float(), bits, rounding)
    levels = weight.levels().chunk(len(moments))
    outputs = _blocks(sensitivity, len(moments))
    codes = [
        compensated(aim, level, hessian, output)
        for aim, level, (hessian, _), output in zip(aims, levels, seconds, outputs, strict=True)
    ]
    return dataclasses.replace(weight, codes=torch.cat(codes).reshape(original.shape))


def _blocks(sensitivity: Sensitivity | None, groups: int) -> Sequence[Tensor | None]:
    """The sensitivity of each group's outputs."""
    if sensitivity is None:
        return [None] * groups
    return [row.chunk(groups, 1)[index] for index, row in enumerate(sensitivity.outputs.chunk(groups))]


class _Reached(Exception):  # noqa: N818 - not an error
    """The layer that listens has been given all its inputs."""


class _Run:
    """A pass over both networks, and who listens to it instead of being quantized by it."""

    def __init__(self, model: SRModel, both: Tensor) -> None:
        self.model = model
        self.both = both
        self.listener: _Twin | None = None


class _Twin(nn.Module):
    """Both versions of a layer: the first half of a batch goes through the one, the second through the other."""

    def __init__(self, name: str, layer: Layer, calls: int, quantize: Callable[..., QuantizedLayer], run: _Run) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self.quantized: QuantizedLayer | None = None
        self._calls = calls
        self._quantize = quantize
        self._run = [run]  # in a list, as the run holds the network that holds this module
        self._heard: list[Tensor] = []

    def forward(self, both: Tensor) -> Tensor:
        run = self._run[0]
        if run.listener is self:
            self._heard.append(both)
            if len(self._heard) == self._calls:
                raise _Reached
        elif run.listener is None and self.quantized is None:
            heard = [both] if self._calls == 1 else self._listen(run)
            xs, ys = zip(*(each.chunk(2) for each in heard), strict=True)
            self.quantized = self._quantize(self.name, self.layer, xs, ys)
        x, y = both.chunk(2)
        return torch.cat([self.layer(x), (self.quantized or self.layer)(y)])

    def _listen(self, run: _Run) -> list[Tensor]:
        """The inputs of all calls of a layer that is used more than once: those to come as they are without it."""
        run.listener = self
        try:
            run.model(run.both)
        except _Reached:
            pass
        finally:
            run.listener = None
        return self._heard


def _count_calls(model: SRModel, names: Sequence[str], image: Tensor) -> Mapping[str, int]:
    """How often a forward pass calls each layer."""
    calls = dict.fromkeys(names, 0)

    def count(name: str) -> Callable[..., None]:
        def called(_layer: nn.Module, _inputs: tuple[Tensor, ...]) -> None:
            calls[name] += 1

        return called

    handles = [model.net.get_submodule(name).register_forward_pre_hook(count(name)) for name in names]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls
