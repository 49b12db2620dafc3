"""The C code that quantizes on a CPU, compiled where it runs: statistics and rounding, each one pass over memory."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from dfsq.quantizers.lookup import Lookup
from dfsq.quantizers.native.compiler import compiled
from dfsq.quantizers.normalization import EPSILON

COMPARED = 32
"""Most points that are found by comparing; more are looked up."""
_LEAST = 64
"""Pixels that every thread needs at least."""
library: ctypes.CDLL | None = None
"""What :func:`build` has loaded."""


class _Quantizer(ctypes.Structure):
    """The structure of the same name in statistics.h."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("channels", "points", "bins", "is_signed")),
        *(
            (name, ctypes.c_void_p)
            for name in ("values", "edges", "table", "fixed", "limit", "reach", "order", "shares")
        ),
        ("epsilon", ctypes.c_float),
    )


def build() -> None:
    """Compile and load the code. Raises RuntimeError where there is no C compiler, or it fails."""
    global library
    loaded = compiled(__name__, "kernel.c")
    quantizer, address, pixels, threads = ctypes.POINTER(_Quantizer), ctypes.c_void_p, ctypes.c_long, ctypes.c_int
    loaded.memory.argtypes = (quantizer, threads)
    loaded.memory_of_blocks.argtypes = (quantizer, pixels, threads)
    loaded.memory.restype = loaded.memory_of_blocks.restype = pixels
    loaded.quantize.argtypes = (quantizer, pixels, address, address, address, threads)
    loaded.quantize_blocks.argtypes = (quantizer, pixels, pixels, pixels, address, address, address, threads)
    loaded.quantize.restype = loaded.quantize_blocks.restype = threads
    library = loaded


def available(samples: Tensor) -> bool:
    """Whether ``samples`` ``(N, n, C)`` can be quantized here: the code is built, they are in memory, and not tiny."""
    return ready_for(samples) and samples.shape[1] >= _LEAST


def ready_for(x: Tensor) -> bool:
    """Whether the code is built, and ``x`` what it works on: float32 in memory."""
    return library is not None and x.device.type == "cpu" and x.dtype == torch.float32


def quantize(
    samples: Tensor,
    signed: bool,
    lookup: Lookup,
    fixed: Tensor | None,
    limit: Tensor | None,
    order: Tensor | None,
    shares: Tensor | None,
) -> Tensor:
    """Quantize ``samples`` ``(N, n, C)``, contiguous, as :class:`dfsq.nn.SubsetQuantizer` does; same shape.

    ``order`` and ``shares``: those of :class:`dfsq.nn.ErrorFeedback`, or None. Raises ValueError for tensors that do
    not fit together, for C takes their lengths on trust.
    """
    count, n, channels = samples.shape
    if n < _LEAST:
        raise ValueError(f"a sample has {n} pixels; the C code takes {_LEAST} or more")
    quantizer = _quantizer(channels, signed, lookup, fixed, limit, None, order, shares)
    _address("samples", samples, torch.float32, count, n, channels)
    threads = min(torch.get_num_threads(), n // _LEAST)
    memory = _memory(_loaded().memory(quantizer, threads), quantizer)
    result = torch.empty_like(samples)
    for sample, to in zip(samples, result, strict=True):
        if _loaded().quantize(quantizer, n, sample.data_ptr(), to.data_ptr(), memory.data_ptr(), threads):
            raise ValueError(f"{n} pixels for {threads} threads: impossible")
    return result


def quantize_blocks(
    maps: Tensor,
    side: int,
    signed: bool,
    lookup: Lookup,
    limit: Tensor | None,
    reach: Tensor | None,
    order: Tensor | None,
    shares: Tensor | None,
) -> Tensor:
    """As :func:`quantize`, for ``maps`` ``(N, H, W, C)``, contiguous, blocks of ``side`` pixels each by themselves."""
    count, height, width, channels = maps.shape
    quantizer = _quantizer(channels, signed, lookup, None, limit, reach, order, shares)
    _address("maps", maps, torch.float32, count, height, width, channels)
    threads = torch.get_num_threads()
    memory = _memory(_loaded().memory_of_blocks(quantizer, side, threads), quantizer)
    result = torch.empty_like(maps)
    for each, to in zip(maps, result, strict=True):
        addresses = (each.data_ptr(), to.data_ptr(), memory.data_ptr())
        if _loaded().quantize_blocks(quantizer, height, width, side, *addresses, threads):
            raise ValueError(f"a map of {height}×{width} pixels: impossible")
    return result


def _quantizer(
    channels: int,
    signed: bool,
    lookup: Lookup,
    fixed: Tensor | None,
    limit: Tensor | None,
    reach: Tensor | None,
    order: Tensor | None,
    shares: Tensor | None,
) -> _Quantizer:
    points, bins = len(lookup.values), lookup.universal.bins
    addresses = (
        _address("values", lookup.values, torch.float32, points, channels),
        _address("edges", lookup.edges, torch.float32, points - 1, channels) if points <= COMPARED else None,
        _address("table", lookup.table, torch.float32, channels, bins) if points > COMPARED else None,
        None if fixed is None else _address("fixed", fixed, torch.float32, 2, channels),
        None if limit is None else _address("limit", limit, torch.float32, channels),
        None if reach is None else _address("reach", reach, torch.float32, channels),
        None if order is None else _address("order", order, torch.int32, channels),
        None if shares is None else _address("shares", shares, torch.float32, channels, channels),
    )
    return _Quantizer(channels, points, bins, signed, *addresses, EPSILON)


def _memory(floats: int, quantizer: _Quantizer) -> Tensor:
    """So many ``floats`` to work in; negative where the C code refuses ``quantizer``."""
    if floats < 0:
        channels, points = quantizer.channels, quantizer.points
        raise ValueError(f"{channels} channels, {points} points, or an order that leaves the channels: impossible")
    return torch.empty(floats)


def _loaded() -> ctypes.CDLL:
    if library is None:
        raise RuntimeError("the C code has not been built")
    return library


def _address(name: str, tensor: Tensor, dtype: torch.dtype, *shape: int) -> int:
    """Where ``tensor`` begins, if it is what C takes it for."""
    suits = tensor.dtype == dtype and tuple(tensor.shape) == shape and tensor.is_contiguous()
    if not suits or tensor.device.type != "cpu":
        found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
        raise ValueError(f"{name} is {found}; the C code needs contiguous {dtype} of shape {shape} in memory")
    return tensor.data_ptr()
