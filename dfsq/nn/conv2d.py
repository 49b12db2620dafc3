"""A convolution with quantized weights and, where it is given a quantizer, quantized inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfsq.nn.input_quantizer import InputQuantizer
from dfsq.quantizers.weights import QuantizedWeight


class QuantizedConv2d(nn.Conv2d):
    """``nn.Conv2d`` by fake quantization: quantized values, computed in float32."""

    channel_axis = 1

    def __init__(self, layer: nn.Conv2d, weight: QuantizedWeight, input_quantizer: InputQuantizer | None) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            layer.bias is not None,
            layer.padding_mode,
            device="meta",
        )
        layout = torch.channels_last
        device = layer.weight.device
        values = weight.dequantize().to(device).contiguous(memory_format=layout)
        self.weight = nn.Parameter(values, requires_grad=False)
        self.bias = layer.bias
        self.quantized_weight = weight
        self.input_quantizer = input_quantizer
        self.output_quantizer: InputQuantizer | None = None
        """Rounds the result, for engines that pass integers on."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(N, C, H, W)``."""
        result = super().forward(input if self.input_quantizer is None else self.input_quantizer(input))
        return result if self.output_quantizer is None else self.output_quantizer(result)
