"""Habits of networks, which dfsq lives with or not: computed weights, views in one memory layout, changing results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from dfsq.networks.any_size import attempt, noise

_SIDE = 64


class Reshaping:
    """Mixed into a network: where its maps cannot be viewed in another shape, they are copied into it.

    dfsq runs networks in channels_last, in which channels cannot be merged with rows without a copy.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As the network itself."""
        with _Reshape():
            result: Tensor = super().forward(x)  # type: ignore[misc]
        return result


class _Reshape(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return func(*args, **kwargs or {})
        except RuntimeError:
            if func is not Tensor.view:
                raise
            return args[0].reshape(*args[1:], **kwargs or {})


def compute_weights(net: nn.Module) -> None:
    """Turn weights that ``net`` computes from other parameters, as weight normalization does, into its parameters."""
    for module in net.modules():
        for name in list(getattr(module, "parametrizations", ())):
            parametrize.remove_parametrizations(module, name)
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                remove_weight_norm(module, hook.name)


def accept_channels_last(net: nn.Module, channels: int) -> None:
    """Let ``net``, whose parameters become channels_last, view its maps in any shape."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    results = [attempt(net, _noise(net, channels, batch)) for batch in (1, 2)]
    if any(isinstance(result, str) and "view" in result for result in results):
        kind = type(net)
        named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        net.__class__ = type(kind.__name__, (Reshaping, kind), named)


def check_repeatable(net: nn.Module, channels: int) -> None:
    """Raise ValueError where ``net`` fails, or does not map the same image to the same image twice."""
    first, second = (attempt(net, _noise(net, channels, 1)) for _ in range(2))
    if isinstance(first, str) or isinstance(second, str):
        raise ValueError(first if isinstance(first, str) else second)
    if not torch.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ValueError("it maps the same image to another one each time: dropout or noise that evaluation leaves on")


def _noise(net: nn.Module, channels: int, batch: int) -> Tensor:
    return noise(net, channels, _SIDE, _SIDE, batch).contiguous(memory_format=torch.channels_last)
