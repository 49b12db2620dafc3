"""Sequential calibration: layers are quantized in execution order, each on what the quantized network gives it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.compensation import Moments, compensated, corrected
from calibration.layers import LayerBits, make_input_quantizer, make_observer, make_weight
from calibration.recipe import Recipe
from dfsq.model import SRModel
from dfsq.nn import SubsetQuantizer, replace
from dfsq.quantizers.weights import QuantizedWeight

Progress = Callable[[str, int, int], None]
_EVERY = 4
"""Every how many positions of a map count for the moments: neighbours tell little new."""


class _Reached(Exception):  # noqa: N818 - not an error
    """The layer that was asked for has been given all its inputs."""


def execution_order(model: SRModel, image: Tensor) -> Mapping[str, int]:
    """Names of the convolutions and linear layers in the order of their first call, with their number of calls."""
    calls: dict[str, int] = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda _layer, _inputs, name=name: calls.__setitem__(name, calls.get(name, 0) + 1)
        )
        for name, layer in model.net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def inputs_of(model: SRModel, name: str, calls: int, batches: Sequence[Tensor]) -> Iterator[Tensor]:
    """Inputs of the layer called ``name``, one call of one batch at a time; nothing behind the layer is computed."""
    layer = model.net.get_submodule(name)
    for batch in batches:
        seen: list[Tensor] = []

        def record(_layer: nn.Module, inputs: tuple[Tensor, ...], seen: list[Tensor] = seen) -> None:
            seen.append(inputs[0])
            if len(seen) == calls:
                raise _Reached

        handle = layer.register_forward_pre_hook(record)
        try:
            model(batch)
        except _Reached:
            pass
        finally:
            handle.remove()
        yield from seen


def rows_of(layer: nn.Conv2d | nn.Linear, x: Tensor) -> list[Tensor]:
    """What every weight of ``layer`` is multiplied with: one matrix ``(positions, K)`` per group."""
    if isinstance(layer, nn.Linear):
        return [x.reshape(-1, x.shape[-1])]
    assert not isinstance(layer.padding, str)
    columns = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # (N, C·kh·kw, L)
    return [each.transpose(1, 2).flatten(0, 1) for each in columns.chunk(layer.groups, dim=1)]


@torch.inference_mode()
def quantize_layers(
    model: SRModel,
    quantized: SRModel,
    plan: Mapping[str, LayerBits],
    batches: Sequence[Tensor],
    recipe: Recipe,
    progress: Progress,
) -> None:
    """Quantize the layers in ``plan`` one after the other in ``quantized``, a copy of ``model``.

    Every layer gets points for what the layers before it now give, then weights and a bias that bring its output
    closest to that of ``model`` on the full-precision input.
    """
    calls = execution_order(quantized, batches[0][:1])
    names = [*(name for name in calls if name in plan), *(name for name in plan if name not in calls)]
    for done, name in enumerate(names):
        progress("Compensating", done, len(names))
        layer = quantized.net.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        bits = plan[name]
        quantizer = None
        if bits.a_bits is not None:
            observer = make_observer(layer, recipe)
            for x in inputs_of(quantized, name, calls[name], batches):
                observer.observe(x)
            quantizer = make_input_quantizer(layer, observer, bits.a_bits, recipe).to(layer.weight.device)
        if name in calls:
            collected = _collect(model, quantized, name, calls[name], batches, quantizer)
            weight = _compensate(layer, collected, bits, recipe)
        else:
            weight = make_weight(layer.weight, bits, recipe)
        replace(quantized.net, name, weight, quantizer)
    progress("Compensating", len(names), len(names))


def _collect(
    model: SRModel,
    quantized: SRModel,
    name: str,
    calls: int,
    batches: Sequence[Tensor],
    quantizer: SubsetQuantizer | None,
) -> list[Moments]:
    """Moments of a layer's inputs, one per group."""
    layer = model.net.get_submodule(name)
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    groups = [Moments(layer.weight[0].numel()) for _ in range(getattr(layer, "groups", 1))]
    pairs = zip(inputs_of(model, name, calls, batches), inputs_of(quantized, name, calls, batches), strict=True)
    for x, y in pairs:
        y = y if quantizer is None else quantizer(y)
        for one, other in zip(torch.split(x, 1), torch.split(y, 1), strict=True):
            for each, rows, quantized_rows in zip(groups, rows_of(layer, one), rows_of(layer, other), strict=True):
                each.add(rows[::_EVERY], quantized_rows[::_EVERY])
    return groups


def _compensate(
    layer: nn.Conv2d | nn.Linear, collected: list[Moments], bits: LayerBits, recipe: Recipe
) -> QuantizedWeight:
    """Quantized weights for ``layer``, whose bias takes up what is left of the means."""
    original = layer.weight.detach().double()
    rows = original.flatten(1).chunk(len(collected))
    moments = [each.second(centered=layer.bias is not None) for each in collected]
    aims = torch.cat([corrected(row, *second) for row, second in zip(rows, moments, strict=True)])
    weight = make_weight(aims.reshape(original.shape).float(), bits, recipe)
    levels = weight.levels().chunk(len(collected))
    codes = torch.cat(
        [
            compensated(aim, level, hessian)
            for aim, level, (hessian, _) in zip(aims.chunk(len(collected)), levels, moments, strict=True)
        ]
    )
    weight = dataclasses.replace(weight, codes=codes.reshape(original.shape))
    if layer.bias is not None:
        rounded = weight.dequantize().double().flatten(1).chunk(len(collected))
        shift = [
            before @ each.means[0] - after @ each.means[1]
            for before, after, each in zip(rows, rounded, collected, strict=True)
        ]
        layer.bias = nn.Parameter(layer.bias + torch.cat(shift).float(), requires_grad=False)
    return weight
