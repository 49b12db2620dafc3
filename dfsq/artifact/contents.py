"""What is in an artifact, without building the network: header, parameters, bounds. Needs no torch."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import deserialize

from dfsq.artifact.file import Artifact, read
from dfsq.artifact.header import Header
from dfsq.errors import ArtifactError

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""What batch normalization stores beside parameters."""
_QUANTIZERS = ("weight", "input", "output")
"""Of a layer, whose tensors are called after them."""


@dataclass(frozen=True)
class Contents:
    """What :func:`contents` finds."""

    header: Header
    parameters: int
    """Of the network in full precision; buffers of its own count too where their names do not tell."""
    bounds: Mapping[str, Mapping[str, Any]]
    """Of layers and places whose input is rounded between bounds: ``lower``, ``upper``, and whether there is a
    ``gate``."""


def contents(path: Path) -> Contents:
    """Read an artifact as :func:`dfsq.artifact.file.read` does, and what of it can be told without its network.

    Raises :class:`~dfsq.errors.ArtifactError` as that does, and for bounds that are no numbers.
    """
    artifact = read(path)
    try:
        return Contents(artifact.header, _parameters(artifact), _bounds(artifact))
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged ({error}); quantize the checkpoint again") from error


def _parameters(artifact: Artifact) -> int:
    header = artifact.header
    quantized = tuple(f"{name}.{each}." for name in header.layers for each in _QUANTIZERS)
    quantized += tuple(f"{name}.place." for name in header.places)
    others = sum(
        prod(shape)
        for name, shape in artifact.shapes.items()
        if not name.startswith(quantized) and name.rpartition(".")[2] not in _BUFFERS
    )
    return others + sum(prod(layer.shape) for layer in header.layers.values())


def _bounds(artifact: Artifact) -> dict[str, dict[str, Any]]:
    header = artifact.header
    places = {name: f"{name}.input" for name, layer in header.layers.items() if layer.inputs == "bounds"}
    places |= {name: f"{name}.place" for name, place in header.places.items() if place.kind == "bounds"}
    if not places:
        return {}
    tensors = {name: facts for content in artifact.contents for name, facts in deserialize(content)}  # type: ignore[no-untyped-call]
    return {
        name: {
            "lower": _number(tensors, f"{prefix}.lower"),
            "upper": _number(tensors, f"{prefix}.upper"),
            "gate": any(each.startswith(f"{prefix}.gate.") for each in tensors),
        }
        for name, prefix in places.items()
    }


def _number(tensors: Mapping[str, Any], name: str) -> float:
    if name not in tensors or tensors[name]["dtype"] != "F32" or tensors[name]["shape"]:
        raise ValueError(f"{name} is no single float32")
    return float(struct.unpack("<f", tensors[name]["data"])[0])
