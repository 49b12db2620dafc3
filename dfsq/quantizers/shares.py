"""How shares of error feedback are stored: a code each, in units of a power of two. Two forms of before are read.

All are lower triangular ``(C, C)``: what is taken from the channel of a row of the errors of those of the columns.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfsq.quantizers.codes import pack_codes, unpack_codes
from dfsq.quantizers.packing import packed_size, unpack
from dfsq.quantizers.stored import Stored

SUFFIXES = ("shares", "scales", "largest")
"""Of the tensors that may be there."""
_BITS = 8
_ZERO = 2 ** (_BITS - 1)
"""The code of a share of nothing."""
MOST_MULTIPLE = _ZERO - 1
MOST_EXPONENT = 60
"""Two of them together still scale a float32."""
_OLD_MAGNITUDES = torch.tensor([1, 3, 6, 9, 13, 18, 24, 32]) / 32
_OLD_LEVELS = torch.cat([-_OLD_MAGNITUDES.flip(0), _OLD_MAGNITUDES])
"""What shares were in units of the largest of a row, up to version 4."""
_OLD_BITS = 4


def pack_shares(shares: Tensor, steps: Tensor) -> dict[str, Tensor]:
    """The tensors, by suffix, of ``shares`` ``(C, C)``, of which only those below the diagonal count.

    That of row i and column j is rounded to a multiple, at most 127 times, of the power of two next to
    ``steps[0, i] * steps[1, j]``, positive, ``(2, C)``.
    """
    scales = steps.detach().cpu().log2().round().clamp(-MOST_EXPONENT, MOST_EXPONENT).to(torch.int8)
    below = shares.detach().cpu()[*_below(len(shares))]
    multiples = torch.from_numpy(np.ldexp(below.double().numpy(), -_exponents(scales))).round()
    codes = multiples.clamp(-MOST_MULTIPLE, MOST_MULTIPLE).to(torch.int16) + _ZERO
    return {"shares": pack_codes(codes, _BITS), "scales": scales}


def unpack_shares(stored: Stored, channels: int) -> Tensor:
    """What :func:`pack_shares` packed for ``channels``: float32 ``(C, C)``, zero but below the diagonal.

    Raises ValueError for tensors that are none of the forms.
    """
    rows, columns = _below(channels)
    result = torch.zeros(channels, channels)
    if "scales" in stored:
        stored.refuse("largest", beside="scales")
        scales = stored.take("scales", torch.int8, (2, channels), -MOST_EXPONENT, MOST_EXPONENT)
        multiples = unpack_codes(stored, "shares", _BITS, (len(rows),)) - _ZERO
        result[rows, columns] = torch.from_numpy(np.ldexp(multiples.float().numpy(), _exponents(scales)))
    elif "largest" in stored:
        largest = stored.take("largest", torch.bfloat16, (channels,), 0).float()
        packed = stored.take("shares", torch.uint8, (packed_size(len(rows), _OLD_BITS),))
        result[rows, columns] = _OLD_LEVELS[unpack(packed, _OLD_BITS, (len(rows),))] * largest[rows]
    else:  # columns first
        result.T[*torch.triu_indices(channels, channels, 1)] = stored.take(
            "shares", torch.bfloat16, (len(rows),)
        ).float()
    return result


def _exponents(scales: Tensor) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Of every share below the diagonal."""
    rows, columns = _below(scales.shape[1])
    exponents: np.ndarray[tuple[int], np.dtype[np.int32]] = (scales[0].int()[rows] + scales[1].int()[columns]).numpy()
    return exponents


def _below(channels: int) -> Tensor:
    return torch.tril_indices(channels, channels, -1)
