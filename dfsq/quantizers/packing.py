"""Bit packing: codes of 1…16 bits laid end to end in bytes, least significant bit first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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

    Raises ValueError when the number of bytes does not fit it.
    """
    count = int(np.prod(shape))
    if packed.numel() != packed_size(count, bits):
        raise ValueError(
            f"{packed.numel()} bytes for {count} codes of {bits} bits, {packed_size(count, bits)} expected"
        )
    planes = np.unpackbits(packed.cpu().numpy(), count=count * bits, bitorder="little").reshape(count, bits)
    return torch.from_numpy(planes @ (1 << np.arange(bits))).reshape(shape)
