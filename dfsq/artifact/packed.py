"""Many small tensors as the bytes of one: a safetensors file whose index is deflated. Needs no torch.

safetensors takes about a hundred bytes to say what a tensor is called, how it is shaped and where it lies. The
quantizers of a small network are a thousand tensors, most of them smaller than that.
"""

from __future__ import annotations

import struct
import zlib

NAME = "dfsq.packed"
"""What the tensor that they become is called."""
LARGEST = 4096
"""Bytes up to which a tensor is packed."""
_START = struct.Struct("<Q")
"""What a safetensors file begins with, and what is packed likewise: how long its index is."""


def pack(content: bytes) -> bytes:
    """The bytes of a safetensors file with its index, the JSON between its first eight bytes and its tensors, as a
    zlib stream (RFC 1950); the first eight bytes are the length of that."""
    (length,) = _START.unpack_from(content)
    start = _START.size + length
    index = zlib.compress(content[_START.size : start], 9)
    return _START.pack(len(index)) + index + content[start:]


def unpack(packed: bytes | memoryview, longest: int) -> bytes:
    """Inverse of :func:`pack`. Raises ValueError for what it did not make, and for an index of more than ``longest``
    bytes, for which no memory is taken."""
    if len(packed) < _START.size:
        raise ValueError(f"{NAME} has less than {_START.size} bytes")
    (length,) = _START.unpack_from(packed)
    if length > len(packed) - _START.size:
        raise ValueError(f"{NAME} claims an index of {length} bytes, but has {len(packed)}")
    stream = zlib.decompressobj()
    start = _START.size + length
    try:
        index = stream.decompress(packed[_START.size : start], longest)
    except zlib.error as error:
        raise ValueError(f"the index of {NAME} is no zlib stream ({error})") from error
    if not stream.eof or stream.unused_data:
        raise ValueError(f"the index of {NAME} has more than {longest} bytes, or other bytes than its zlib stream")
    return _START.pack(len(index)) + index + bytes(packed[start:])
