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
    "points and ranges": {
        *("points", "gaps"),
        *("fixed", "limit", "reach", "block", "scale", "zero_point", "factors", "lower", "upper"),
        "columns",
        *(f"gate.{name}" for name in ("first", "second", "magnitudes", "scale", "shift")),
    },
    "shares": {"order", "shares", "scales", "largest"},
}
"""Suffixes of tensors that quantizers store."""
_QUANTIZERS = ("weight", "input", "output", "place")


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
        found[_kind(name)] += count
    found["other"] += size - sum(found.values())
    return found


def _kind(name: str) -> str:
    """Of the tensor ``name``: a layer or place, which of its quantizers, and what that calls it."""
    words = name.split(".")
    # A layer may itself be called like a quantizer: the last such word is that.
    at = max((index for index, word in enumerate(words[:-1]) if word in _QUANTIZERS), default=None)
    suffix = "" if at is None else ".".join(words[at + 1 :])
    return next((kind for kind, suffixes in _KINDS.items() if suffix in suffixes), "other")
