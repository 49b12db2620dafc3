"""What the bytes of an artifact are."""

from __future__ import annotations

from collections.abc import Mapping

from dfsq.artifact.model import tensors_of
from dfsq.model import SRModel

_KINDS = {
    "codes": {"codes"},
    "points and ranges": {"points", "fixed", "limit", "scale", "zero_point", "lower", "upper"},
    "shares": {"order", "shares", "largest"},
}
"""Suffixes of tensors that quantizers store."""


def parts_of(model: SRModel, size: int) -> Mapping[str, int]:
    """Bytes by kind, together the ``size`` of the file of ``model``, which is quantized: codes of weights, their points
    and those of activations, shares of error feedback, and all else."""
    found = dict.fromkeys((*_KINDS, "other"), 0)
    for name, tensor in tensors_of(model).items():
        place, _, suffix = name.rpartition(".")
        quantizer = place.rpartition(".")[2] in ("weight", "input", "output", "place")
        kind = next((kind for kind, suffixes in _KINDS.items() if quantizer and suffix in suffixes), "other")
        found[kind] += tensor.nbytes
    found["other"] += size - sum(found.values())
    return found
