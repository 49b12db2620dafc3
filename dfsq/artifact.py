"""The dfsq artifact: one safetensors file that holds a quantized network and how it came about.

Tensors: for every quantized layer ``NAME.weight.codes`` and what decodes them (``scale`` and ``zero_point``, or
``scale`` and ``points``); where its input is quantized ``NAME.input.points``, unless it never saturates
``NAME.input.limit``, with error feedback ``NAME.input.order`` and ``NAME.input.shares``, and for a range that does not
follow the input ``NAME.input.fixed``; every other parameter under its own name, as float16 where that loses nothing.
``__metadata__["dfsq"]`` is one JSON object, described by :func:`_header`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as decode_tensors
from safetensors.torch import save as encode_tensors
from torch import Tensor

from dfsq import networks, nn
from dfsq.errors import ArtifactError, DfsqError, UsageError
from dfsq.files import write_atomically
from dfsq.model import NetworkInfo, Quantization, SRModel
from dfsq.networks import own
from dfsq.networks.recognition import OwnNetwork
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import KINDS
from dfsq.version import __version__

VERSION = 1
"""Version of the format. A reader refuses files with a larger one."""
METADATA_KEY = "dfsq"


def save(model: SRModel, path: str | Path) -> int:
    """Write a quantized ``model`` to ``path`` and return the size in bytes. An existing file is replaced only by a
    whole one.

    The same model gives the same bytes. Raises :class:`UsageError` for a model that is not quantized and
    :class:`DfsqError` where the file cannot be written.
    """
    own.check_wrapped(model, "save")
    if model.quantization is None:
        raise UsageError("only quantized models are saved as artifacts; quantize the model first")
    tensors = _tensors(model)
    header = _header(model, _digest(tensors))
    content = encode_tensors(tensors, {METADATA_KEY: json.dumps(header, sort_keys=True)})
    write_atomically(Path(path), content)
    return len(content)


def is_artifact(path: Path) -> bool:
    """Whether ``path`` is a safetensors file with dfsq metadata; False for anything else, unreadable files included."""
    try:
        return METADATA_KEY in _metadata(path)
    except (OSError, ValueError, struct.error):
        return False


def read_header(path: Path) -> dict[str, Any]:
    """The JSON metadata of an artifact. Raises :class:`ArtifactError` where it is damaged or of a newer version."""
    try:
        header = json.loads(_metadata(path)[METADATA_KEY])
        version = header["version"]
        if not isinstance(version, int):
            raise TypeError(f"version {version!r}")
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise ArtifactError(f"{path}: damaged metadata; quantize the checkpoint again") from error
    if version > VERSION:
        written_by = header.get("versions", {}).get("dfsq", "a newer release")
        raise ArtifactError(
            f"{path} has format version {version}, this dfsq reads up to {VERSION}; "
            f"it was written by dfsq {written_by}: upgrade"
        )
    return dict(header)


def load(path: str | Path, arch: OwnNetwork | None = None) -> SRModel:
    """Load an artifact. The result's outputs are ``torch.equal`` to those of the model that was saved.

    ``arch`` is what makes a network of the user's own.

    Raises :class:`ArtifactError` for a damaged or truncated file and for one of a newer format version.
    """
    path = Path(path)
    header = read_header(path)
    try:
        tensors = decode_tensors(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ArtifactError(f"{path} is truncated or damaged ({error}); quantize the checkpoint again") from error
    if _digest(tensors) != header.get("tensors_sha256"):
        raise ArtifactError(
            f"{path}: its tensors do not match their checksum; copy it or quantize the checkpoint again"
        )
    try:
        return _rebuild(header, tensors, arch)
    except UsageError as error:
        if header.get("code") is None:
            raise ArtifactError(f"{path}: metadata and tensors do not fit ({error}); quantize again") from error
        raise UsageError(f"{path}: {error}") from error  # about the code that the caller named
    except (KeyError, ValueError, TypeError, AttributeError, DfsqError) as error:
        raise ArtifactError(f"{path}: metadata and tensors do not fit together ({error}); quantize again") from error


def _tensors(model: SRModel) -> dict[str, Tensor]:
    state = model.net.state_dict()
    stored = {}
    for name, layer in nn.quantized_layers(model.net):
        del state[f"{name}.weight"]
        for suffix, tensor in layer.quantized_weight.to_tensors().items():
            stored[f"{name}.weight.{suffix}"] = tensor
        if layer.input_quantizer is not None:
            for suffix, tensor in layer.input_quantizer.to_tensors().items():
                stored[f"{name}.input.{suffix}"] = tensor
    stored.update({name: _smallest(tensor) for name, tensor in state.items()})
    # Copies, for parameters that layers share must not share memory in the file.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in stored.items()}


def _smallest(tensor: Tensor) -> Tensor:
    """As float16 where that loses nothing: checkpoints published in half precision stay that small."""
    half = tensor.half()
    return half if tensor.is_floating_point() and torch.equal(half.to(tensor.dtype), tensor) else tensor


def _header(model: SRModel, digest: str) -> dict[str, Any]:
    assert model.quantization is not None
    layers = {}
    for name, layer in nn.quantized_layers(model.net):
        quantizer = layer.input_quantizer
        layers[name] = {
            "w_bits": layer.quantized_weight.bits,
            "weights": layer.quantized_weight.kind,
            "shape": list(layer.weight.shape),
            "in_channels": None if quantizer is None else len(quantizer.points),
            "a_bits": None if quantizer is None else quantizer.bits,
            "signed": None if quantizer is None else quantizer.signed,
        }
    info = model.info
    return {
        "format": "dfsq",
        "version": VERSION,
        "architecture": info.architecture,
        "hyperparameters": dict(info.hyperparameters),
        "scale": info.scale,
        "rgb_range": info.rgb_range,
        "channels": info.channels,
        "found": dict(info.found),
        "fidelity": info.fidelity,
        "code": None if info.code is None else dict(info.code),
        "body": list(model.body),
        "layers": layers,
        "recipe": dict(model.quantization.recipe),
        "calibration": dict(model.quantization.calibration),
        "source": {"file": info.source, "sha256": info.source_sha256},
        "tensors_sha256": digest,
        "versions": {"dfsq": __version__, "torch": torch.__version__},
    }


def _rebuild(header: Mapping[str, Any], tensors: dict[str, Tensor], arch: OwnNetwork | None) -> SRModel:
    universal = UniversalSet(header["recipe"]["words"])
    weights, inputs = {}, {}
    state = dict(tensors)
    for name, layer in header["layers"].items():
        shape = tuple(layer["shape"])
        parts = _pop(state, f"{name}.weight.")
        weights[name] = KINDS[layer["weights"]].from_tensors(parts, shape, layer["w_bits"], universal)
        state[f"{name}.weight"] = weights[name].dequantize()
        inputs[name] = _pop(state, f"{name}.input.")
    info = NetworkInfo(
        architecture=header["architecture"],
        hyperparameters=header["hyperparameters"],
        scale=header["scale"],
        rgb_range=header["rgb_range"],
        source=header["source"]["file"],
        source_sha256=header["source"]["sha256"],
        channels=header.get("channels", 3),
        found=header.get("found", {}),
        fidelity=header.get("fidelity"),
        code=header.get("code"),
    )
    model = networks.build(info, {key: _as_computed(tensor) for key, tensor in state.items()}, arch)
    for name, layer in header["layers"].items():
        quantizer = None
        if layer["a_bits"] is not None:
            quantizer = nn.SubsetQuantizer.from_tensors(
                inputs[name],
                layer["in_channels"],
                signed=layer["signed"],
                bits=layer["a_bits"],
                universal=universal,
                channel_axis=nn.channel_axis(model.net.get_submodule(name)),
            )
        nn.replace(model.net, name, nn.counterpart(model.net.get_submodule(name), weights[name], quantizer))
    model.body = tuple(header.get("body", model.body))
    model.quantization = Quantization(header["recipe"], header["calibration"])
    return model


def _pop(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose names begin with ``prefix``, and return them without it."""
    return {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}


def _as_computed(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _metadata(path: Path) -> dict[str, str]:
    """The ``__metadata__`` of a safetensors file, read without its tensors; {} where it has none."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(path.stat().st_size, 100_000_000):
            raise ValueError("header longer than the file")
        header = json.loads(file.read(length))
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) else {}
