"""Layers while they are trained: full-precision weights behind the quantizer that will round them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from calibration.layers import Layer
from calibration.training.precision import product
from dfsq.nn import InputQuantizer, QuantizedLayer, counterpart
from dfsq.quantizers.weights import QuantizedWeight


class TrainedWeight(Protocol):
    """A module that gives the weight of a layer, quantized, with gradients."""

    def __call__(self) -> Tensor:
        """The weight ``(C_out, …)``, float32."""
        ...

    def frozen(self) -> QuantizedWeight:
        """What :meth:`__call__` gives, as it is stored."""
        ...


class TrainedInput(Protocol):
    """A module that quantizes the input of a layer, with gradients."""

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` quantized; same shape, float32."""
        ...

    def frozen(self) -> InputQuantizer:
        """What :meth:`__call__` does, as it is stored."""
        ...


class LatentLayer(nn.Module):
    """A convolution or linear layer whose weight, input quantizer and bias are trained.

    Products are taken in ``precision``, all else in float32.
    """

    unit: Tensor

    def __init__(
        self,
        layer: Layer,
        weight: TrainedWeight,
        inputs: TrainedInput | None,
        bias: Tensor | None,
        unit: Tensor | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """``layer``: the one in full precision; ``bias``: where to start from, ``(C_out,)``; ``unit``, of the same
        shape: what one step of its rate is worth, 1 if None."""
        super().__init__()
        self.weight = weight
        self.inputs = inputs
        self.bias = None
        if bias is not None:
            self.register_buffer("unit", torch.ones_like(bias) if unit is None else unit)
            self.bias = nn.Parameter(bias.detach() / self.unit)
        self.precision = precision
        self._layer = [layer]  # in a list: its weights are no parameters of this module

    def forward(self, x: Tensor) -> Tensor:
        """What the layer makes of ``x``, float32."""
        if self.inputs is not None:
            x = self.inputs(x)
        bias = None if self.bias is None else self.bias * self.unit
        return product(self._layer[0], x, self.weight(), bias, self.precision)

    def frozen(self) -> QuantizedLayer:
        """The quantized layer that this has become."""
        quantizer = None if self.inputs is None else self.inputs.frozen()
        result = counterpart(self._layer[0], self.weight.frozen(), quantizer)
        if self.bias is not None:
            result.bias = nn.Parameter(self.bias.detach() * self.unit, requires_grad=False)
        return result.to(self._layer[0].weight.device)


class StraightThrough(nn.Module):
    """A quantizer that is not trained, through which gradients pass as if it did not round."""

    def __init__(self, quantizer: InputQuantizer) -> None:
        super().__init__()
        self._quantizer = [quantizer]  # in a list: it stays as it is

    def forward(self, x: Tensor) -> Tensor:
        """``x`` quantized; same shape, float32."""
        rounded: Tensor = x + (self._quantizer[0](x.detach()) - x).detach()
        return rounded
