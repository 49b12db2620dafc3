"""What makes a training run the same, and how it is told from another: digests of all that it starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfsq.evaluation.benchmarks import Benchmark
from dfsq.model import SRModel


def of_network(model: SRModel) -> dict[str, Any]:
    """Of a ``model`` in full precision, part by part: JSON types only.

    Weights as they are, not the file that they are from: a model in memory has none.
    """
    info = model.info
    built = {
        "architecture": info.architecture,
        "hyperparameters": dict(info.hyperparameters),
        "scale": info.scale,
        "channels": info.channels,
        "code": None if info.code is None else dict(info.code),
    }
    state = {name: each for name, each in model.net.state_dict().items() if isinstance(each, Tensor)}
    weights = (each.cpu().reshape(-1).view(torch.uint8).numpy() for each in state.values())  # numpy lacks bfloat16
    return {
        "network": built,
        "range of values": info.rgb_range,
        "body": list(model.body),
        "set of weights": [{name: list(each.shape) for name, each in state.items()}, digest(weights)],
    }


def of_held_out(held_out: Benchmark) -> str:
    """Of the images that models are scored on: SHA-256, hexadecimal."""
    pairs = (pair.read(held_out.scale) for pair in held_out.pairs)
    return digest(image for pair in pairs for image in pair)


def digest(arrays: Iterable[NDArray[Any]]) -> str:
    """SHA-256 of the shapes and the content of ``arrays``, hexadecimal."""
    found = hashlib.sha256()
    for each in arrays:
        found.update(f"{each.dtype} {each.shape} ".encode())
        found.update(np.ascontiguousarray(each).tobytes())
    return found.hexdigest()
