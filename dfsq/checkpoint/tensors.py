"""From a file's tensors to a network's: kinds that are no weights refused, weight normalization undone, float32."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dfsq.checkpoint.names import printable
from dfsq.errors import CheckpointError


def bytes_needed(states: Iterable[Mapping[str, Tensor]]) -> int:
    """Bytes that ``states`` take as dense float32. Tensors that repeat few stored values count in full."""
    dense = (tensor for state in states for tensor in state.values() if tensor.layout is torch.strided)
    return sum(max(4, tensor.element_size()) * tensor.numel() for tensor in dense if not tensor.is_meta)


def as_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters and buffers as a network takes them: floating point as contiguous float32, weight normalization
    folded.

    Integers and booleans stay as they are, as buffers. Raises :class:`CheckpointError` that names the tensor where one
    is a weight all the same, or is complex, quantized, sparse, nested, without values or not finite.
    """
    converted = _folded({name: _converted(name, tensor) for name, tensor in state.items()})
    for name, tensor in converted.items():
        if not torch.isfinite(tensor).all():
            beyond = name in state and state[name].dtype == torch.float64 and bool(torch.isfinite(state[name]).all())
            what = "values beyond float32's range" if beyond else "NaN or infinite values"
            raise CheckpointError(f"{printable(name)} holds {what}; the checkpoint is damaged or diverged")
    return converted


class _Refused(NamedTuple):
    what: str
    remedy: str


def _converted(name: str, tensor: Tensor) -> Tensor:
    if refused := _refused(name, tensor):
        raise CheckpointError(f"{printable(name)} is {refused.what}, no weight that can be used; {refused.remedy}")
    tensor = tensor.detach()
    if not tensor.is_floating_point():
        return tensor
    try:
        return tensor.float().contiguous()
    except NotImplementedError as error:
        raise CheckpointError(f"{printable(name)} is {tensor.dtype}, which torch cannot convert to float32") from error


def _refused(name: str, tensor: Tensor) -> _Refused | None:
    if tensor.is_nested:
        return _Refused("a nested tensor", "save tensors of one shape each")
    if tensor.is_quantized:
        return _Refused(f"quantized ({tensor.dtype})", "save the network from before it was quantized")
    if tensor.layout is not torch.strided:
        return _Refused(f"sparse ({tensor.layout})", "save it as tensor.to_dense()")
    if tensor.is_meta:
        return _Refused("without values (on the device 'meta')", "save the network after its weights are loaded")
    if tensor.is_complex():
        return _Refused(f"complex ({tensor.dtype})", "super-resolution networks have real weights")
    if not tensor.is_floating_point() and re.fullmatch(r"(weight|bias)\w*", name.rpartition(".")[2]):
        return _Refused(f"of type {tensor.dtype}", "save the network's floating-point weights")
    return None


_NORMALIZED = (
    (r"(.*\bweight)_v", r"\1_g"),  # torch.nn.utils.weight_norm
    (r"(.*)\bparametrizations\.(\w+)\.original1", r"\1parametrizations.\2.original0"),  # its successor
)
"""Names of directions, and of the magnitudes that belong to them."""


def _folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo weight normalization: direction v and magnitude g become the weight g · v / ‖v‖ (Salimans & Kingma 2016)."""
    folded = dict(state)
    for name in state:
        for direction, magnitude in _NORMALIZED:
            match = re.fullmatch(direction, name)
            if match and (other := match.expand(magnitude)) in state:
                whole = "".join(match.groups())
                folded[whole] = _weight(name, folded.pop(name), folded.pop(other))
    return folded


def _weight(name: str, direction: Tensor, magnitude: Tensor) -> Tensor:
    """g · v / ‖v‖. The norm is over the dimensions in which g has one value."""
    shape = (1,) * direction.ndim if magnitude.ndim == 0 else tuple(magnitude.shape)
    if len(shape) != direction.ndim or any(
        own not in (1, full) for own, full in zip(shape, direction.shape, strict=True)
    ):
        raise CheckpointError(
            f"{printable(name)} {tuple(direction.shape)} and its magnitude {tuple(magnitude.shape)} do not fit together"
        )
    along = [index for index, own in enumerate(shape) if own == 1]
    norm = torch.linalg.vector_norm(direction, dim=along, keepdim=True) if along else direction.abs()
    return direction * (magnitude.view(shape) / norm)
