"""Every value to its nearest point in one kernel that ``torch.compile`` makes, for accelerators."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from tempfile import gettempdir
from typing import Any

import torch
from torch import Tensor

from dfsq.caches import private_folder
from dfsq.quantizers.lookup import Lookup
from dfsq.quantizers.normalization import bin_index, restored

COMPARED = 16
"""Most points that are found by comparing; more are looked up."""
_VARIANTS = 64
"""Versions of a function: numbers of points, with and without a shift."""
_CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Where torch looks for compiled code; it puts its own default there."""
ready = False
"""Whether :func:`build` has been called."""


def build(device: str) -> None:
    """Compile from now on. Raises what ``torch.compile`` raises where there is no compiler for ``device``, and
    :class:`~dfsq.errors.DfsqError` where what it compiles could be replaced by others."""
    global ready
    folder = os.environ.get(_CACHE, "")
    # Torch's default is a name that everybody can foresee, in a folder that everybody can write into.
    if not folder or folder.startswith(os.path.join(gettempdir(), "torchinductor_")):
        os.environ[_CACHE] = str(private_folder("torchinductor"))
    torch.compile(torch.neg)(torch.ones(1, device=device))
    torch._dynamo.config.recompile_limit = _VARIANTS
    ready = True


def round_to_points(x: Tensor, shift: Tensor | None, spread: Tensor, lookup: Lookup) -> Tensor:
    """As :func:`dfsq.quantizers.lookup.round_to_points`."""
    bins, of_pixels = lookup.universal.bins, spread.dim() == 2
    if len(lookup.values) > COMPARED:
        table = lookup.table if of_pixels else restored(lookup.table.T, shift, spread).T
        result: Tensor = _compiled(_look_up)(x, shift, spread, table.reshape(-1), bins)
    else:
        levels = lookup.values if of_pixels else restored(lookup.values, shift, spread)
        low = torch.zeros_like(spread) if shift is None else shift
        result = _compiled(_compare)(x, low, spread, lookup.edges, levels, bins // 2)
    # Not in what is compiled, where it could be rounded once instead of twice.
    return restored(result, shift, spread) if of_pixels else result


def _look_up(x: Tensor, shift: Tensor | None, spread: Tensor, table: Tensor, bins: int) -> Tensor:
    first = torch.arange(0, len(table), bins, device=x.device, dtype=torch.int32)
    return table[bin_index(x, shift, spread, bins) + first]


def _compare(x: Tensor, shift: Tensor, spread: Tensor, edges: Tensor, levels: Tensor, half: int) -> Tensor:
    normalized = (x - shift) / spread * half
    result = levels[0].expand_as(x)
    for edge, level in zip(edges.unbind(), levels[1:].unbind(), strict=True):
        result = torch.where(normalized >= edge, level, result)
    return result


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)
