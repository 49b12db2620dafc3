"""A linear layer with quantized weights and, where it is given a quantizer, quantized inputs."""

from __future__ import annotations

from torch import Tensor, nn

from dfsq.nn.input_quantizer import InputQuantizer
from dfsq.quantizers.weights import QuantizedWeight


class QuantizedLinear(nn.Linear):
    """``nn.Linear`` by fake quantization: quantized values, computed in float32. The channel is the last axis."""

    channel_axis = -1

    def __init__(self, layer: nn.Linear, weight: QuantizedWeight, input_quantizer: InputQuantizer | None) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight = nn.Parameter(weight.dequantize().to(layer.weight.device), requires_grad=False)
        self.bias = layer.bias
        self.quantized_weight = weight
        self.input_quantizer = input_quantizer
        self.output_quantizer: InputQuantizer | None = None
        """Rounds the result, for engines that pass integers on."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, …, C)``."""
        result = super().forward(input if self.input_quantizer is None else self.input_quantizer(input))
        return result if self.output_quantizer is None else self.output_quantizer(result)
