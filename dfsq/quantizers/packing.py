"""Bit packing: codes of 1…16 bits laid end to end in bytes, least significant bit first."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_PIECE = 2**16
"""Codes that are unpacked together, whole bytes of them: each takes up to 16 integers meanwhile."""


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes of ``bits`` bits take."""
    return (count * bits + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack non-negative integers below 2**bits (any shape, row by row) into uint8 ``(packed_size(codes.numel(),
    bits),)``.

    Raises ValueError for a code that does not fit.
    """
    flat = codes.detach().cpu().reshape(-1).numpy().astype(np.int64)
    if flat.size and not 0 <= flat.min() <= flat.max() < 1 << bits:
        raise ValueError(f"codes from {flat.min()} to {flat.max()} do not fit into {bits} bits")
    little_endian = flat.astype("<u2").view(np.uint8).reshape(-1, 2)
    planes = np.unpackbits(little_endian, axis=1, bitorder="little")[:, :bits]
    return torch.from_numpy(np.packbits(planes.reshape(-1), bitorder="little"))


def unpack(packed: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`pack`: int64 of the given ``shape``.

    Raises ValueError when it is not uint8 ``(bytes,)``, or the number of bytes does not fit.
    """
    count = math.prod(shape)
    if packed.dtype != torch.uint8 or packed.dim() != 1:
        raise ValueError(f"packed codes are {packed.dtype} of shape {tuple(packed.shape)}; they must be bytes in a row")
    if packed.numel() != packed_size(count, bits):
        raise ValueError(
            f"{packed.numel()} bytes for {count} codes of {bits} bits, {packed_size(count, bits)} expected"
        )
    source, codes = packed.cpu().numpy(), np.empty(count, np.int64)
    for first in range(0, count, _PIECE):
        piece = codes[first : first + _PIECE]
        planes = np.unpackbits(source[first * bits // 8 :], count=len(piece) * bits, bitorder="little")
        piece[:] = planes.reshape(-1, bits) @ (1 << np.arange(bits))
    return torch.from_numpy(codes).reshape(shape)
