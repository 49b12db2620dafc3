"""What the bytes of an artifact are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfsq.artifact.file import read

if TYPE_CHECKING:
    from dfsq.model import SRModel

_KINDS = {
    "codes": {"codes"},
    "points and ranges": {"points", "gaps", "fixed", "limit", "scale", "zero_point", "lower", "upper", "columns"},
    "shares": {"order", "shares", "scales", "largest"},
}
"""Suffixes of tensors that quantizers store."""


def parts_of(model: SRModel, size: int) -> Mapping[str, int]:
    """Bytes by kind, together the ``size`` of the file of ``model``, which is quantized: codes of weights, their points
    and those of activations, shares of error feedback, and all else."""
    from dfsq.artifact.model import tensors_of

    return _by_kind({name: tensor.nbytes for name, tensor in tensors_of(model).items()}, size)


def described(path: Path) -> dict[str, Any]:
    """What the header of an artifact says, and under ``parts`` what :func:`parts_of` does; JSON types only.

    Does not import torch. Raises :class:`~dfsq.errors.ArtifactError` as :func:`dfsq.artifact.load` does.
    """
    artifact = read(path)
    return {**artifact.header.to_json(), "parts": _by_kind(artifact.sizes, path.stat().st_size)}


def _by_kind(sizes: Mapping[str, int], size: int) -> dict[str, int]:
    found = dict.fromkeys((*_KINDS, "other"), 0)
    for name, count in sizes.items():
        place, _, suffix = name.rpartition(".")
        quantizer = place.rpartition(".")[2] in ("weight", "input", "output", "place")
        kind = next((kind for kind, suffixes in _KINDS.items() if quantizer and suffix in suffixes), "other")
        found[kind] += count
    found["other"] += size - sum(found.values())
    return found
