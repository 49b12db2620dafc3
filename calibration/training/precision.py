"""The precision in which products are taken."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from calibration.layers import Layer
from dfsq.engines.processor import instruction_set

_FAST = ("AVX512_BF16", "AVX512_FP16", "AMX", "AMX_FP16")
"""Instruction sets that multiply bfloat16 about twice as fast as float32, or more."""


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The dtype that ``precision`` means on ``device``; ``auto`` is bfloat16 where that is fast."""
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else instruction_set(limited=True) in _FAST
        precision = "bf16" if fast else "f32"
    return {"f32": torch.float32, "bf16": torch.bfloat16}[precision]


def product(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None, precision: torch.dtype) -> Tensor:
    """What ``layer`` makes of ``x`` with this ``weight`` and ``bias``, float32: products in ``precision``."""
    bias = None if bias is None else bias.to(precision)
    if isinstance(layer, nn.Linear):
        return F.linear(x.to(precision), weight.to(precision), bias).float()
    rows = weight.to(precision).contiguous(memory_format=torch.channels_last)
    result: Tensor = layer._conv_forward(x.to(precision), rows, bias).float()
    return result
