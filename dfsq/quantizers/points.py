"""How quantization points are stored: in the smallest of four forms, told apart by name and dtype.

Evenly spaced, the first and the step of every channel; gaps between indices into the universal set, or the indices; and
numerators as they are. Up to format version 4 one bit for each element of the set stood for gaps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dfsq.quantizers.codes import pack_codes, unpack_codes
from dfsq.quantizers.packing import pack, packed_size, unpack
from dfsq.quantizers.stored import Stored
from dfsq.quantizers.universal import UniversalSet

SUFFIXES = ("points", "gaps")
"""Of the tensors that may be there: one of them is."""
_GAP_BITS = 8


def pack_points(points: Tensor, universal: UniversalSet) -> dict[str, Tensor]:
    """The tensor, by suffix, of ``points``, ascending numerators, int ``(C, k)``: ``gaps``, uint8, 1-D; or ``points``,
    int16 ``(C, 2)`` or ``(C, k)``, or uint8, 1-D."""
    forms = [("points", points.to(torch.int16))]
    steps = points.diff()
    if points.shape[1] > 2 and (steps == steps[:, :1]).all():
        forms.append(("points", torch.stack([points[:, 0], steps[:, 0]], 1).to(torch.int16)))
    if torch.isin(points, universal.numerators).all():
        indices = torch.searchsorted(universal.numerators, points)
        forms.append(("points", pack(indices, universal.index_bits)))
        gaps = indices.diff(prepend=torch.zeros_like(indices[:, :1]))
        if int(gaps.amax()) < 2**_GAP_BITS:
            forms.append(("gaps", pack_codes(gaps, _GAP_BITS)))
    return dict([min(forms, key=lambda form: form[1].nbytes)])


def stored_bits(bits: int, universal: UniversalSet, evenly: bool) -> int:
    """About how many bits of a file the 2^``bits`` points of a channel take, evenly spaced or drawn from ``universal``.

    Gaps of random subsets are geometrically distributed, and take log₂ e bits more than the logarithm of their mean.
    """
    if evenly:
        return 32
    count = 1 << bits
    return round(count * (math.log2(len(universal) / count) + math.log2(math.e)))


def unpack_points(stored: Stored, shape: tuple[int, int], universal: UniversalSet) -> Tensor:
    """Inverse of :func:`pack_points`: int64 numerators of ``shape`` ``(C, k)``.

    Raises ValueError for what has none of the forms, an index outside the universal set, and points that are not
    ascending within −1…1.
    """
    channels, k = shape
    most = universal.denominator
    if "gaps" in stored:
        stored.refuse("points", beside="gaps")
        indices = unpack_codes(stored, "gaps", _GAP_BITS, shape).cumsum(1)
        points: Tensor = universal.numerators[_within(indices, universal)]
    elif stored.dtype("points") == torch.int16:
        if k > 2 and stored.shape("points") == (channels, 2):
            first, step = stored.take("points", torch.int16, (channels, 2)).long().T
            points = first[:, None] + step[:, None] * torch.arange(k)
            if points.numel() and (points.amin() < -most or points.amax() > most):
                raise ValueError(f"evenly spaced points reach to {points.abs().amax()}; the most is {most}")
        else:
            points = stored.take("points", torch.int16, shape, -most, most).long()
    else:
        points = universal.numerators[_indices(stored, shape, universal)]
    if (points.diff() < 0).any():
        raise ValueError("points must ascend in every channel")
    return points


def _indices(stored: Stored, shape: tuple[int, int], universal: UniversalSet) -> Tensor:
    size, mask_size = _sizes(*shape, universal)
    if mask_size < size and stored.shape("points") == (mask_size,):
        mask = unpack(stored.take("points", torch.uint8, (mask_size,)), 1, (shape[0], len(universal)))
        counts = mask.sum(1)
        if (counts != shape[1]).any():
            wrong = int(counts[counts != shape[1]][0])
            raise ValueError(f"a channel has {wrong} points; it must have {shape[1]}")
        return mask.nonzero()[:, 1].view(shape)
    indices = unpack(stored.take("points", torch.uint8, (size,)), universal.index_bits, shape)
    return _within(indices, universal)


def _within(indices: Tensor, universal: UniversalSet) -> Tensor:
    if indices.numel() and int(indices.amax()) >= len(universal):
        raise ValueError(f"point index {int(indices.amax())}, but the universal set has {len(universal)} elements")
    return indices


def _sizes(channels: int, k: int, universal: UniversalSet) -> tuple[int, int]:
    """Bytes that indices take, and bits of all elements."""
    return packed_size(math.prod((channels, k)), universal.index_bits), packed_size(channels * len(universal), 1)
