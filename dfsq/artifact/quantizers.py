"""Quantized weights and quantizers from their records and tensors. Every message names the layer or place."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import Module

from dfsq import nn
from dfsq.artifact.fields import label
from dfsq.artifact.header import LayerRecord, QuantizerRecord
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import COLUMNS, QuantizedWeight, with_columns
from dfsq.quantizers.weights import KINDS as WEIGHTS

Tensors = Mapping[str, Tensor]
"""By suffix."""


def weight(name: str, record: LayerRecord, tensors: Tensors) -> QuantizedWeight:
    """The weight of the layer called ``name``. Raises ValueError for tensors that do not fit the record."""
    if record.weights not in WEIGHTS:
        raise ValueError(f"the weights of {label(name)} are {label(record.weights)}; known: {', '.join(WEIGHTS)}")
    try:
        columns = {suffix: each for suffix, each in tensors.items() if suffix == COLUMNS}
        others = {suffix: each for suffix, each in tensors.items() if suffix not in columns}
        found = WEIGHTS[record.weights].from_tensors(others, record.shape, record.w_bits, UniversalSet(record.words))
        return with_columns(found, columns)
    except ValueError as error:
        raise ValueError(f"{label(name)}.weight: {error}") from error


def input_quantizer(name: str, record: LayerRecord, tensors: Tensors, layer: Module) -> nn.InputQuantizer | None:
    """What quantizes the input of ``layer``; None where nothing does. Raises ValueError as :func:`weight`."""
    if record.inputs is None or record.a_bits is None or record.signed is None:
        _check_none(f"{label(name)}.input", tensors)
        return None
    found = QuantizerRecord(record.inputs, record.a_bits, record.signed, record.words)
    known = tuple(nn.INPUT_QUANTIZERS)
    return _restored(name, "input", found, known, tensors, nn.input_channels(layer), nn.channel_axis(layer))


def output_quantizer(name: str, record: LayerRecord, tensors: Tensors, layer: Module) -> nn.InputQuantizer | None:
    """What quantizes the output of ``layer``; None where nothing does. Raises ValueError as :func:`weight`."""
    if record.outputs is None:
        _check_none(f"{label(name)}.output", tensors)
        return None
    found = QuantizerRecord(**vars(record.outputs), words=record.words)
    known = (nn.AffineQuantizer.kind,)
    return _restored(name, "output", found, known, tensors, int(record.shape[0]), nn.channel_axis(layer))


def place_quantizer(name: str, record: QuantizerRecord, tensors: Tensors, place: Module) -> nn.InputQuantizer:
    """What quantizes ``place``. Raises ValueError as :func:`weight`, and where that is none."""
    if not isinstance(place, nn.Place):
        raise ValueError(f"places.{label(name)}: the network has a {type(place).__name__} there and no place")
    return _restored(name, "place", record, tuple(nn.INPUT_QUANTIZERS), tensors, place.channels, place.channel_axis)


def _check_none(where: str, tensors: Tensors) -> None:
    if tensors:
        raise ValueError(f"{where} has tensors, but the header says that it is not quantized")


def _restored(
    name: str, what: str, record: QuantizerRecord, known: tuple[str, ...], tensors: Tensors, channels: int, axis: int
) -> nn.InputQuantizer:
    if record.kind not in known:
        raise ValueError(f"the {what}s of {label(name)} are {label(record.kind)}; known: {', '.join(known)}")
    try:
        return nn.INPUT_QUANTIZERS[record.kind].from_tensors(
            tensors,
            channels,
            signed=record.signed,
            bits=record.bits,
            universal=UniversalSet(record.words),
            channel_axis=axis,
        )
    except ValueError as error:
        raise ValueError(f"{label(name)}.{what}: {error}") from error
