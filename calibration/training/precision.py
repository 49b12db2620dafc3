"""The precision in which products are taken."""

from __future__ import annotations

import torch

from dfsq.engines.processor import instruction_set

PRECISIONS = ("auto", "f32", "bf16")
"""Names that ``precision`` takes."""
_FAST = ("AVX512_BF16", "AVX512_FP16", "AMX", "AMX_FP16")
"""Instruction sets that multiply bfloat16 about twice as fast as float32, or more."""


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """The dtype that ``precision`` means on ``device``; ``auto`` is bfloat16 where that is fast."""
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else instruction_set(limited=True) in _FAST
        precision = "bf16" if fast else "f32"
    return {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
