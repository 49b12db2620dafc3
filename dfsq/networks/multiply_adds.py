"""What a network computes where: multiply-adds of its convolutions and matrix products, by module and by function.

Operators are counted below modules and functions, by a ``TorchDispatchMode``, so that ``F.conv2d`` and ``@`` in a
forward pass count as modules do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from dfsq.dispatch import DispatchMode
from dfsq.model import SRModel
from dfsq.networks.scope import QUANTIZABLE, quantizable_layers
from dfsq.nn import InputQuantizer, operands, quantized_layers, quantized_places

_aten = torch.ops.aten
_FLOAT32 = 32 * 32
_OPERANDS = 4
"""Of the two products of attention."""
_PROBE = 64
"""Height and width of the image that is counted."""


@dataclass(frozen=True)
class Work:
    """What one layer computes, or one function outside all layers."""

    module: str
    """Name of the innermost module that computes it."""
    function: str
    """For example ``F.conv2d`` or ``matmul``; "" where the module is a layer, whose kind tells."""
    kind: str
    """Class of the module."""
    multiply_adds: int
    """For an image of 64×64."""

    def __str__(self) -> str:
        if not self.function:
            return f"{self.module} ({self.kind})"
        return f"{self.function} in {self.module or 'the network itself'}"


@dataclass(frozen=True)
class Shares:
    """How the multiply-adds of a network divide, in 0–1; together 1."""

    inside: float
    """Layers whose weights and activations are quantized; in a full-precision network those in body scope."""
    outside: float
    """Layers of which the weights alone are quantized; in a full-precision network others that could be."""
    full: float
    """What is computed in full precision; in a full-precision network what nothing quantized can replace."""
    layers: Mapping[str, float]
    """What ``inside`` and ``outside`` consist of, by name."""
    rest: tuple[tuple[Work, float], ...]
    """What ``full`` consists of, the largest share first."""
    bit_operations: float = 1.0
    """Every multiply-add weighed by the bits of both its factors, against 32·32 for all: BitOPs of papers, in 0–1."""
    parameters: tuple[float, float] = (0.0, 0.0)
    """Shares of all parameters that are weights of the layers of ``inside`` and of ``outside``."""


def of_model(model: SRModel) -> Shares:
    """How the multiply-adds of ``model`` divide, quantized or not."""
    net = model.net
    if model.quantization is None:
        others = [name for name in quantizable_layers(net) if name not in model.body]
        found = shares(count(net, model.info.channels), model.body, others)
        return replace(found, parameters=_parameters(net, model.body, others))
    layers = dict(quantized_layers(net))
    behind = behind_places(model)
    inside = [name for name, layer in layers.items() if layer.input_quantizer is not None or name in behind]
    bits = {
        name: layer.quantized_weight.bits
        * (layer.input_quantizer.bits if layer.input_quantizer else behind.get(name, 32))
        for name, layer in layers.items()
    }
    outside = layers.keys() - inside
    products = _products_of_operands(net)
    found = shares(count(net, model.info.channels), inside, outside, bits | products, products)
    return replace(found, parameters=_parameters(net, inside, outside))


def _products_of_operands(net: nn.Module) -> dict[str, int]:
    """Modules that take matrix products of quantized operands alone: bits of both, on average, by name."""
    found: dict[str, list[int]] = {}
    left = {name.rpartition(".")[0] for name, _ in operands(net)}
    for name, quantizer in quantized_places(net):
        found.setdefault(name.rpartition(".")[0], []).append(quantizer.bits)
    return {
        name: round((sum(bits) / len(bits)) ** 2)
        for name, bits in found.items()
        if name not in left and len(bits) == _OPERANDS
    }


def _parameters(net: nn.Module, *groups: Iterable[str]) -> tuple[float, float]:
    total = sum(each.numel() for each in net.parameters()) or 1
    weights = dict(net.named_parameters())
    inside, outside = (sum(weights[f"{name}.weight"].numel() for name in group) / total for group in groups)
    return inside, outside


@torch.no_grad()
def behind_places(model: SRModel) -> dict[str, int]:
    """Quantized layers that need no input quantizer, as they are given what a quantized place made: its bits, by name
    of the layer."""
    places = [place for _, place in quantized_places(model.net)]
    if not places:
        return {}
    made: list[tuple[Tensor, int]] = []
    read: dict[str, Tensor] = {}
    handles = [
        each.register_forward_hook(lambda place, _, output: made.append((output, place.bits))) for each in places
    ]
    for name, layer in quantized_layers(model.net):
        if layer.input_quantizer is None:
            handles.append(layer.register_forward_pre_hook(lambda _, inputs, name=name: read.update({name: inputs[0]})))
    try:
        model.net(_image(model.net, model.info.channels))
    finally:
        for handle in handles:
            handle.remove()
    return {name: bits for name, tensor in read.items() for each, bits in made if tensor is each}


@torch.no_grad()
def count(net: nn.Module, channels: int = 3) -> list[Work]:
    """Multiply-adds of ``net`` for an image of 64×64 with ``channels`` channels, in order of first execution."""
    modules = dict(net.named_modules())
    running: list[str] = []

    def enter(name: str, *_: Any) -> None:
        running.append(name)

    def leave(*_: Any) -> None:
        running.pop()

    handles = [each.register_forward_pre_hook(partial(enter, name)) for name, each in modules.items()]
    handles += [each.register_forward_hook(leave, always_call=True) for each in modules.values()]
    try:
        with _Counter(running) as counter:
            net(_image(net, channels))
    finally:
        for handle in handles:
            handle.remove()
    plain = quantizable_layers(net)
    quantizers = tuple(f"{name}." for name, module in modules.items() if isinstance(module, InputQuantizer))
    return [
        Work(name, "" if name in plain or _is_layer(modules[name]) else function, type(modules[name]).__name__, number)
        for (name, function), number in counter.counted.items()
        if not f"{name}.".startswith(quantizers)
    ]


def shares(
    work: Iterable[Work],
    inside: Iterable[str],
    outside: Iterable[str],
    bits: Mapping[str, int] | None = None,
    products: Collection[str] = (),
) -> Shares:
    """How ``work`` divides between the layers named ``inside``, those ``outside``, and everything else.

    ``bits``: of a layer's weights times those of its inputs, by name, where that is not 32·32. ``products``: modules
    whose matrix products are inside too.
    """
    work = list(work)
    total = sum(each.multiply_adds for each in work) or 1
    named = {*inside, *products}, {*outside}

    def counts(each: Work) -> bool:
        if each.function:
            return each.function == "matmul" and each.module in products
        return each.module in named[0] or each.module in named[1]

    layers = {each.module: each.multiply_adds / total for each in work if counts(each)}
    parts = [(each, each.multiply_adds / total) for each in work if not counts(each)]
    within, beside = (sum(share for name, share in layers.items() if name in group) for group in named)
    parts.sort(key=lambda part: -part[1])
    full = sum(share for _, share in parts)
    operations = 1 - sum(share * (1 - (bits or {}).get(name, _FLOAT32) / _FLOAT32) for name, share in layers.items())
    return Shares(within, beside, full, layers, tuple(parts), operations)


class _Counter(DispatchMode):  # type: ignore[no-untyped-call]
    """Counts what operators compute, for the module that is running."""

    def __init__(self, running: list[str]) -> None:
        super().__init__()
        self.counted: dict[tuple[str, str], int] = {}
        """By the module's name and the function."""
        self._running = running

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **kwargs or {})
        counter = _COUNTERS.get(func.overloadpacket)
        if counter is not None:
            function, number = counter(args, result)
            key = (self._running[-1] if self._running else "", function)
            self.counted[key] = self.counted.get(key, 0) + number
        return result


def _image(net: nn.Module, channels: int) -> Tensor:
    device = next(net.parameters()).device
    return torch.rand(1, channels, _PROBE, _PROBE, generator=torch.Generator().manual_seed(0)).to(device)


def _is_layer(module: nn.Module) -> bool:
    """Whether ``module`` computes one thing, which its kind tells."""
    known = type(module).__module__.startswith(("torch.nn.", "dfsq.nn."))
    return known and (isinstance(module, QUANTIZABLE) or not any(module.children()))


def _convolution(args: tuple[Any, ...], result: Tensor) -> tuple[str, int]:
    x, weight, transposed = args[0], args[1], args[6]
    name = f"F.conv{'_transpose' if transposed else ''}{weight.dim() - 2}d"
    # Every value of the output, or of the input, meets the weights of one channel.
    return name, (x if transposed else result).numel() * prod(weight.shape[1:])


def _product(left: int, args: tuple[Any, ...], result: Tensor) -> tuple[str, int]:
    """Of matrices; the argument numbered ``left`` is the left one."""
    return "matmul", result.numel() * args[left].shape[-1]


def _attention(args: tuple[Any, ...], _result: Any) -> tuple[str, int]:
    query, key, value = args[:3]
    return "attention", prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _whole_attention(args: tuple[Any, ...], _result: Any) -> tuple[str, int]:
    query, key, _value, width = args[:4]
    products = query.shape[-2] * key.shape[-2] * 2 * width
    return "attention", len(query) * (products + 2 * (query.shape[-2] + key.shape[-2]) * width**2)


_COUNTERS: Mapping[Any, Callable[[tuple[Any, ...], Any], tuple[str, int]]] = {
    _aten.convolution: _convolution,
    **{getattr(_aten, name): partial(_product, 0) for name in ("mm", "bmm", "mv", "dot")},
    **{getattr(_aten, name): partial(_product, 1) for name in ("addmm", "baddbmm", "addmv")},
    _aten._native_multi_head_attention: _whole_attention,
    **{
        getattr(_aten, f"_scaled_dot_product_{name}"): _attention
        for name in (
            "flash_attention_for_cpu",
            "flash_attention",
            "efficient_attention",
            "cudnn_attention",
        )
        if hasattr(_aten, f"_scaled_dot_product_{name}")
    },
}
