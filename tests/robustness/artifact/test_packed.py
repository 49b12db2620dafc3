"""Artifacts whose packed tensors are none, lie, or lie twice; checksums are right."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import pytest

from dfsq.errors import ArtifactError, DfsqError

PACKED = "dfsq.packed"
INDEX = zlib.compress(b"{}")


def framed(index: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(index) if length is None else length) + index + data


CONTENTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "less than 8 bytes"),
    "half a length": (b"\0" * 7, "less than 8 bytes"),
    "longer than itself": (framed(INDEX, length=2**63), "claims an index of 9223372036854775808 bytes, but has"),
    "no stream": (framed(b"no zlib stream"), "is no zlib stream"),
    "half a stream": (framed(INDEX[:-3]), "other bytes than its zlib stream"),
    "more than a stream": (framed(INDEX + b"more"), "other bytes than its zlib stream"),
    "damaged": (framed(INDEX[:-1] + bytes([INDEX[-1] ^ 1])), "is no zlib stream"),
    "a bomb": (framed(zlib.compress(b" " * 10**9)), "has more than 16777216 bytes"),
    "no JSON": (framed(zlib.compress(b"{")), "impossible header"),
    "no object": (framed(zlib.compress(b"[]")), "instead of an object"),
    "no tensors": (framed(INDEX), "absent|missing"),
    "unclaimed bytes": (framed(INDEX, b"more"), "its tensors have 0 bytes, the file 4"),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_what_is_not_packed(forgery: Any, judge: Any, confined: Any, what: str) -> None:
    content, said = CONTENTS[what]
    forged = forgery.with_packed(content).content()
    with pytest.raises(ArtifactError, match=said):
        judge.load(forged)
    assert confined(lambda: judge.complaints(what, forged)) == []


def test_packed_or_not_the_picture_is_the_same(forgery: Any, judge: Any) -> None:
    packed = forgery.packed().content()
    assert len(packed) < len(forgery.content())
    assert judge.complaints("packed", packed) == []


def test_a_tensor_may_be_there_only_once(forgery: Any, judge: Any) -> None:
    twice = forgery.packed().with_tensors(**{"head.0.bias": forgery.tensors["head.0.bias"]})
    assert "the tensor head.0.bias is there twice" in judge.refusal(twice.content())
    within = forgery.packed(lambda index: index.update({PACKED: index["head.0.bias"]}))
    judge.refusal(within.content())


def test_any_flipped_byte_is_noticed(forgery: Any, judge: Any) -> None:
    content = forgery.packed().content()
    chosen = random.Random(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
        with pytest.raises(DfsqError):
            judge.load(bytes(damaged))
