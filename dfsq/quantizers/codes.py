"""How codes are stored: in the smaller of two forms, told apart by size.

Laid end to end (:mod:`dfsq.quantizers.packing`), or with fewer bits for those that are frequent: a zlib stream
(RFC 1950) of one byte for each. Weights at 8 bits take some 10 % less so.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor

from dfsq.quantizers.packing import pack, packed_size, unpack
from dfsq.quantizers.stored import Stored


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """Pack integers in 0…2^``bits`` − 1 of any shape, row by row, ``bits`` up to 8: uint8, 1-D.

    Raises ValueError for a code that does not fit.
    """
    packed = pack(codes, bits)
    # Without matches, so that no code takes less than a bit: nobody can claim more codes than a file has bits.
    huffman = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_HUFFMAN_ONLY)
    stream = huffman.compress(codes.detach().cpu().reshape(-1).to(torch.uint8).numpy().tobytes()) + huffman.flush()
    return torch.frombuffer(bytearray(stream), dtype=torch.uint8) if len(stream) < packed.numel() else packed


def unpack_codes(stored: Stored, name: str, bits: int, shape: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`pack_codes`, of the tensor called ``name``: int64 of the given ``shape``.

    Raises ValueError for what has neither form. No memory is taken for more codes than it has bits.
    """
    count = math.prod(shape)
    size = packed_size(count, bits)
    found = stored.shape(name)
    if len(found) != 1 or not count / 8 < found[0] < size:
        return unpack(stored.take(name, torch.uint8, (size,)), bits, shape)
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(stored.take(name, torch.uint8, found).cpu().numpy().tobytes(), count + 1)
    except zlib.error as error:
        raise ValueError(f"{_few(name, found[0], size)} ({error})") from error
    if len(content) != count or not stream.eof or stream.unused_data:
        raise ValueError(f"{_few(name, found[0], size)} of {count} codes")
    codes = torch.from_numpy(np.frombuffer(content, np.uint8).astype(np.int64))
    if int(codes.amax()) >= 2**bits:
        raise ValueError(f"{name} has the code {int(codes.amax())}; of {bits} bits it must be below {2**bits}")
    return codes.reshape(shape)


def _few(name: str, found: int, size: int) -> str:
    return f"{name} is {found} bytes; it must be {size}, or a zlib stream, and is none"
