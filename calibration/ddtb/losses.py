"""What DDTB makes small: distance to HR images, and to what a full-precision network attends to (DDTB, losses)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LEVELS = 255
"""Grey levels above black: the published weights and rates are for images in 0–255."""


def grey_levels(output: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute difference of two images in 0–1, in grey levels: a scalar."""
    return (output - hr).abs().mean() * _LEVELS


def attention(maps: Tensor) -> Tensor:
    """Where ``maps`` ``(N, C, H, W)`` are large: the mean of their squares over channels, ``(N, H·W)`` of norm 1."""
    return torch.nn.functional.normalize(maps.square().mean(1).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the :func:`attention` of maps of the same shape: a scalar."""
    return (attention(student) - attention(teacher)).square().mean()


def gate_loss(logits: Sequence[Tensor]) -> Tensor:
    """Mean square of gates' ``logits`` ``(N, 2)``, each: nothing where all factors are 1. A scalar; needs one gate."""
    return torch.stack([each.square().mean() for each in logits]).mean()
