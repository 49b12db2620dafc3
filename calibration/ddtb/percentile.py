"""Percentiles of tensors of any size, as numpy interpolates them."""

from __future__ import annotations

from torch import Tensor


def percentile(x: Tensor, percent: float) -> Tensor:
    """The value below which ``percent`` (0…100) of all values of ``x`` lie, interpolated linearly: ``()``, detached.

    :func:`torch.quantile` refuses more than 16 million values, which a batch of a wide layer has.
    """
    values = x.detach().flatten()
    position = percent / 100 * (len(values) - 1)
    index = int(position)
    below = values.kthvalue(index + 1).values
    above = values.kthvalue(min(index + 2, len(values))).values
    return below + (above - below) * (position - index)
