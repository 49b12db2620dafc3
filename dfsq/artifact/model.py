"""A quantized model as header and tensors, and back.

Tensors: for every quantized layer ``NAME.weight.SUFFIX`` as its kind of weight stores itself
(:mod:`dfsq.quantizers.weights`); where its input is quantized ``NAME.input.SUFFIX`` as that kind does
(:mod:`dfsq.nn.input_quantizer`), where its output is ``NAME.output.SUFFIX`` likewise; for every quantized place
``NAME.place.SUFFIX``; every other parameter under its own name, as float16 where that loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from math import isfinite, prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as decode_tensors
from safetensors.torch import save as encode_tensors
from torch import Tensor

from dfsq import networks, nn
from dfsq.artifact import file, packed, quantizers
from dfsq.artifact.fields import label
from dfsq.artifact.header import Header, LayerRecord, OutputRecord, QuantizerRecord
from dfsq.artifact.network import check_arguments, check_output, check_shapes
from dfsq.errors import ArtifactError, DfsqError, UsageError
from dfsq.files import write_atomically
from dfsq.model import NetworkInfo, Quantization, SRModel
from dfsq.networks.bounded import Bounded
from dfsq.networks.own import check_wrapped
from dfsq.networks.recognition import OwnNetwork
from dfsq.nn import QuantizedLayer
from dfsq.quantizers.universal import UniversalSet
from dfsq.version import __version__


def save(model: SRModel, path: str | Path) -> int:
    """Write a quantized ``model`` to ``path`` and return the size in bytes. An existing file is replaced only by a
    whole one.

    The same model gives the same bytes. Raises :class:`UsageError` for a model that is not quantized, or that no reader
    would accept, and :class:`DfsqError` where the file cannot be written.
    """
    check_wrapped(model, "save")
    if model.quantization is None:
        raise UsageError("only quantized models are saved as artifacts; quantize the model first")
    try:
        tensors = _packed(tensors_of(model))
        parts = (file.Part(name, str(each.dtype), tuple(each.shape), _bytes(each)) for name, each in tensors.items())
        header = header_of(model, model.quantization)
        meta = file.metadata(header, parts)
        check_arguments(header)
        content = encode_tensors(tensors, meta)
    except (TypeError, ValueError) as error:
        raise UsageError(f"this model cannot be stored: {error}") from error
    write_atomically(Path(path), content)
    return len(content)


def load(path: str | Path, arch: OwnNetwork | None = None) -> SRModel:
    """Load an artifact. The result's outputs are ``torch.equal`` to those of the model that was saved.

    ``arch`` is what makes a network of the user's own. Everything in the file is checked before anything is computed
    from it. Raises :class:`ArtifactError` for a damaged, truncated or contradictory file and for one of a newer format
    version, and :class:`UsageError` for an ``arch`` that makes no network.
    """
    path = Path(path)
    artifact = file.read(path)
    try:
        return _rebuilt(artifact, arch)
    except DfsqError as error:
        if artifact.header.code is not None and isinstance(error, UsageError):
            raise UsageError(f"{path}: {error}") from error  # about the code that the caller named
        raise ArtifactError(f"{path}: {error}") from error
    except (LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" in str(error):  # how torch says that memory is short
            raise MemoryError(str(error)) from error
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{path}: header and tensors do not fit together ({reason}); quantize again") from error


def tensors_of(model: SRModel) -> dict[str, Tensor]:
    """What an artifact of ``model`` holds, by name."""
    state = model.net.state_dict()
    stored = {}
    for name, layer in nn.quantized_layers(model.net):
        del state[f"{name}.weight"]
        for suffix, tensor in layer.quantized_weight.to_tensors().items():
            stored[f"{name}.weight.{suffix}"] = tensor
        if layer.input_quantizer is not None:
            for suffix, tensor in layer.input_quantizer.to_tensors().items():
                stored[f"{name}.input.{suffix}"] = tensor
        if (quantizer := layer.output_quantizer) is not None:
            for suffix, tensor in quantizer.to_tensors().items():
                stored[f"{name}.output.{suffix}"] = tensor
    for name, quantizer in nn.quantized_places(model.net):
        for suffix, tensor in quantizer.to_tensors().items():
            stored[f"{name}.place.{suffix}"] = tensor
    stored.update({name: _smallest(tensor) for name, tensor in state.items()})
    # Copies, for parameters that layers share must not share memory in the file.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in stored.items()}


def _packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a file holds: ``tensors`` with the small ones packed. Raises ValueError for values that are not finite."""
    _check_finite(tensors)
    if packed.NAME in tensors:
        raise ValueError(f"the network has a tensor called {packed.NAME}")
    small = {name: tensor for name, tensor in tensors.items() if tensor.nbytes <= packed.LARGEST}
    together = bytearray(packed.pack(encode_tensors(small)))
    large = {name: tensor for name, tensor in tensors.items() if name not in small}
    return {**large, packed.NAME: torch.frombuffer(together, dtype=torch.uint8)}


def _smallest(tensor: Tensor) -> Tensor:
    """As float16 where that loses nothing: checkpoints published in half precision stay that small."""
    half = tensor.half()
    return half if tensor.is_floating_point() and torch.equal(half.to(tensor.dtype), tensor) else tensor


def _bytes(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{label(name)} has values that are not finite")


def header_of(model: SRModel, quantization: Quantization) -> Header:
    """What an artifact says of ``model``, which is quantized."""
    info = model.info
    return Header(
        architecture=info.architecture,
        hyperparameters=dict(info.hyperparameters),
        scale=info.scale,
        rgb_range=float(info.rgb_range),
        channels=info.channels,
        found=dict(info.found),
        # JSON has no infinity, which a network that changes nothing may reach.
        fidelity=info.fidelity if info.fidelity is not None and isfinite(info.fidelity) else None,
        code=None if info.code is None else dict(info.code),
        body=tuple(model.body),
        layers={name: _record(layer) for name, layer in nn.quantized_layers(model.net)},
        recipe=dict(quantization.recipe),
        calibration=dict(quantization.calibration),
        source={"file": info.source, "sha256": info.source_sha256},
        versions={"dfsq": __version__, "torch": torch.__version__},
        places={
            name: QuantizerRecord(each.kind, each.bits, each.signed, _universal(each).words)
            for name, each in nn.quantized_places(model.net)
        },
    )


def _record(layer: QuantizedLayer) -> LayerRecord:
    weight, quantizer, output = layer.quantized_weight, layer.input_quantizer, layer.output_quantizer
    return LayerRecord(
        shape=tuple(layer.weight.shape),
        w_bits=weight.bits,
        weights=weight.kind,
        words=_universal(weight, quantizer).words,
        inputs=None if quantizer is None else quantizer.kind,
        a_bits=None if quantizer is None else quantizer.bits,
        signed=None if quantizer is None else quantizer.signed,
        outputs=None if output is None else OutputRecord(output.kind, output.bits, output.signed),
    )


def _universal(*quantizers: object) -> UniversalSet:
    """The universal set that the first of ``quantizers`` which has points takes them out of."""
    sets = (getattr(each, "universal", None) for each in quantizers)
    return next((each for each in sets if each is not None), UniversalSet())


def _rebuilt(artifact: file.Artifact, arch: OwnNetwork | None) -> SRModel:
    header = artifact.header
    shapes = dict(artifact.shapes)
    for name, record in header.layers.items():
        _pop(shapes, f"{name}.weight.")
        _pop(shapes, f"{name}.input.")
        _pop(shapes, f"{name}.output.")
        if prod(record.shape) > 8 * sum(map(len, artifact.contents)):
            raise ValueError(f"layers.{label(name)}.shape is {list(record.shape)}: more weights than the file has bits")
        shapes[f"{name}.weight"] = record.shape
    for name in header.places:
        _pop(shapes, f"{name}.place.")
    check_shapes(header, shapes)
    state = {name: tensor for content in artifact.contents for name, tensor in decode_tensors(content).items()}
    state.pop(packed.NAME, None)
    _check_finite(state)
    weights, inputs, outputs = {}, {}, {}
    for name, record in header.layers.items():
        weights[name] = quantizers.weight(name, record, _pop(state, f"{name}.weight."))
        inputs[name] = _pop(state, f"{name}.input.")
        outputs[name] = _pop(state, f"{name}.output.")
        state[f"{name}.weight"] = weights[name].dequantize()
    places = {name: _pop(state, f"{name}.place.") for name in header.places}
    info = NetworkInfo(
        architecture=header.architecture,
        hyperparameters=header.hyperparameters,
        scale=header.scale,
        rgb_range=header.rgb_range,
        source=header.source["file"],
        source_sha256=header.source["sha256"],
        channels=header.channels,
        found=header.found,
        fidelity=header.fidelity,
        code=header.code,
    )
    state = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    _check_finite(state)
    # Code that the user names may make what it likes.
    with Bounded(shapes) if header.code is None else nullcontext():
        model = networks.build(info, dict(state), arch)
    _check_kinds(model, state)
    check_output(header, model)
    for name, record in header.layers.items():
        layer = model.net.get_submodule(name)
        quantizer = quantizers.input_quantizer(name, record, inputs[name], layer)
        quantized = nn.counterpart(layer, weights[name], quantizer)
        quantized.output_quantizer = quantizers.output_quantizer(name, record, outputs[name], layer)
        nn.replace(model.net, name, quantized)
    for name, place in header.places.items():
        where = model.net.get_submodule(name)
        nn.replace(model.net, name, quantizers.place_quantizer(name, place, places[name], where))
    if header.body is not None:
        for name in header.body:
            model.net.get_submodule(name)
        model.body = header.body
    model.quantization = Quantization(header.recipe, header.calibration)
    return model


def _check_kinds(model: SRModel, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError for integers in place of floats, which loading a state converts, or the other way round."""
    for name, tensor in model.net.state_dict().items():
        if tensor.is_floating_point() != state[name].is_floating_point():
            raise ValueError(f"{label(name)} is {state[name].dtype}, the network's is {tensor.dtype}")


def _pop(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Take the entries whose names begin with ``prefix``, and return them without it."""
    return {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}
