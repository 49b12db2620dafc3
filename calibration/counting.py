"""Histograms of channel-wise normalized values, on the grid of a universal set."""

from __future__ import annotations

import torch
from torch import Tensor

from dfsq.quantizers.blocks import cut
from dfsq.quantizers.normalization import bin_index, channel_statistics, window_statistics

SHARES = 16
"""Parts of the largest spread of a map's blocks in which theirs are counted: whole numbers add up in any order."""


def count_samples(counts: Tensor, samples: Tensor, signed: bool) -> Tensor:
    """Add the values of ``samples`` ``(N, n, C)``, contiguous, each normalized by itself, to ``counts``.

    ``counts``: int64 ``(bins, C)``, where what is often hit lies together; bins are over −1…1. ``signed``: about the
    mean (DFSQ Eq. 5). Returns the largest spread that a sample had, ``(C,)``.
    """
    shift, spread = _statistics(samples, signed)
    index = _index(counts, samples, shift, spread)
    counts += torch.bincount(index.view(-1), minlength=counts.numel()).view(counts.shape)
    return spread.view(-1, samples.shape[2]).amax(0)


def count_blocks(counts: Tensor, image: Tensor, side: int, signed: bool) -> Tensor:
    """As :func:`count_samples`, for all blocks of ``side`` × ``side`` pixels of a map ``image`` ``(H, W, C)``.

    A value counts by the square of its block's spread, as a share of the largest: so much does the same error weigh.
    """
    samples = cut(image[None], side)
    shift, spread = _statistics(samples, signed)
    largest = spread.view(-1, samples.shape[2]).amax(0)
    weights = (spread / largest * SHARES).ceil().to(torch.int64).square().expand_as(samples)
    index = _index(counts, samples, shift, spread)
    counts.view(-1).index_add_(0, index.view(-1), weights.reshape(-1))
    return largest


def _statistics(samples: Tensor, signed: bool) -> tuple[Tensor | None, Tensor]:
    if len(samples) == 1:
        return channel_statistics(samples[0], signed)
    return window_statistics(samples, signed)


def _index(counts: Tensor, samples: Tensor, shift: Tensor | None, spread: Tensor) -> Tensor:
    """The places of ``samples`` in ``counts``, int32."""
    bins, channels = counts.shape
    column = torch.arange(channels, device=samples.device, dtype=torch.int32)
    return bin_index(samples, shift, spread, bins) * channels + column
