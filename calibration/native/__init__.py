"""The C code that calibration uses on a CPU where quantizers are compiled: the same results as by torch's operators."""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from calibration.counting import SHARES
from dfsq.quantizers import native
from dfsq.quantizers.native.compiler import compiled
from dfsq.quantizers.normalization import EPSILON

_COLUMNS = 32
"""As in compensation.h."""


def available(tensor: Tensor) -> bool:
    """Whether what is in ``tensor`` can be worked on here: quantizers are compiled, this too, and it is in memory."""
    return native.library is not None and tensor.device.type == "cpu" and not failure()


def failure() -> str:
    """Why the code cannot be used, though quantizers are compiled; "" where it can. Compiles it the first time."""
    return "" if native.library is None else _attempt()[1]


def compensate(remaining: Tensor, levels: Tensor, edges: Tensor, to_rows: Tensor, to_columns: Tensor) -> Tensor:
    """Codes, uint8 ``(O, K)``, of weights ``remaining``, ``(O, K)`` in the order in which they are to be rounded.

    ``levels`` ``(O, k)`` and their ``edges`` ascend; ``to_rows`` ``(O, O)`` and ``to_columns`` ``(K, K)`` are
    what :func:`calibration.compensation.triangle` gives. All are float64.
    """
    height, width = remaining.shape
    points = levels.shape[1]
    values = remaining.T.clone(memory_format=torch.contiguous_format)  # column by column
    rows, columns = to_rows.contiguous(), to_columns.contiguous()
    codes = torch.empty_like(values, dtype=torch.uint8)
    memory = values.new_empty(_COLUMNS, height)
    addresses = (
        _address(values, torch.float64, width, height),
        _address(levels, torch.float64, height, points),
        _address(edges, torch.float64, height, points - 1),
        _address(rows, torch.float64, height, height),
        _address(columns, torch.float64, width, width),
        memory.data_ptr(),
        codes.data_ptr(),
    )
    _library().compensate(height, width, points, *addresses, torch.get_num_threads())
    return codes.T


def descend(
    codes: Tensor, levels: Tensor, edges: Tensor, rows: Tensor, columns: Tensor, along: Tensor, least: float
) -> int:
    """One sweep of :func:`calibration.descent.Descent.codes`: changes ``codes``, uint8, and ``along``, both ``(O, K)``.

    ``levels`` ``(O, k)`` and their ``edges`` ascend; ``rows`` ``(O, O)`` and ``columns`` ``(K, K)`` are what errors of
    outputs and inputs weigh. All are float64. Returns how many codes have moved.
    """
    height, width = codes.shape
    points = levels.shape[1]
    memory = along.new_empty(2, height)
    addresses = (
        _address(levels, torch.float64, height, points),
        _address(edges, torch.float64, height, points - 1),
        _address(rows, torch.float64, height, height),
        _address(columns, torch.float64, width, width),
        _address(along, torch.float64, height, width),
        memory.data_ptr(),
        _address(codes, torch.uint8, height, width),
    )
    moved: int = _library().descend(height, width, points, *addresses, least)
    return moved


def savings(candidates: Tensor, gains: Tensor, k: int, unit: float) -> Tensor:
    """The most that paths of 1…``k`` points to each of ``candidates``, int64 ``(n,)``, save: float64 ``(k, C, n)``.

    ``gains``: float64 ``(C, bins + 2)``, by bin edge, and one that is of none; ``unit``: what numerators count.
    """
    channels, edges = gains.shape
    points, threads = len(candidates), torch.get_num_threads()
    saved, memory = gains.new_empty(k, channels, points), gains.new_empty(threads, points)
    addresses = (_address(candidates, torch.int64, points), _address(gains, torch.float64, channels, edges))
    _library().save(channels, points, k, edges, *addresses, unit, saved.data_ptr(), memory.data_ptr(), threads)
    return saved


def count_blocks(counts: Tensor, image: Tensor, side: int, signed: bool) -> Tensor:
    """As :func:`calibration.counting.count_blocks`."""
    height, width, channels = image.shape
    bins, threads = len(counts), torch.get_num_threads()
    image, largest = image.contiguous(), image.new_empty(channels)
    memory = image.new_empty(2, -(-height // side) * -(-width // side), channels)
    addresses = (
        _address(image, torch.float32, height, width, channels),
        _address(counts, torch.int64, bins, channels),
        largest.data_ptr(),
        memory.data_ptr(),
    )
    _library().count_blocks(channels, height, width, side, bins, signed, EPSILON, SHARES, *addresses, threads)
    return largest


def _address(tensor: Tensor, dtype: torch.dtype, *shape: int) -> int:
    """Where ``tensor`` begins, if it is what C takes it for."""
    if tensor.dtype != dtype or tuple(tensor.shape) != shape or not tensor.is_contiguous() or not tensor.is_cpu:
        found = f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"
        raise ValueError(f"the C code needs contiguous {dtype} of shape {shape} in memory, not {found}")
    return tensor.data_ptr()


def _library() -> ctypes.CDLL:
    loaded, reason = _attempt()
    if loaded is None:
        raise RuntimeError(reason)
    return loaded


@cache
def _attempt() -> tuple[ctypes.CDLL | None, str]:
    """The code, or why there is none: a compiler that is slow today is not waited for at every layer."""
    try:
        loaded = compiled(__name__, "kernel.c")
    except RuntimeError as error:
        return None, str(error)
    size, address, threads = ctypes.c_long, ctypes.c_void_p, ctypes.c_int
    loaded.compensate.argtypes = (*[size] * 3, *[address] * 7, threads)
    loaded.save.argtypes = (*[size] * 4, *[address] * 2, ctypes.c_double, *[address] * 2, threads)
    loaded.count_blocks.argtypes = (*[size] * 5, ctypes.c_int, *[ctypes.c_float] * 2, *[address] * 4, threads)
    loaded.descend.argtypes = (*[size] * 3, *[address] * 7, ctypes.c_double)
    loaded.descend.restype = size
    loaded.compensate.restype = loaded.save.restype = loaded.count_blocks.restype = None
    return loaded, ""
