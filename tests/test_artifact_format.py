"""docs/artifact-format.md is enough to read artifacts: a reader written from it finds what dfsq loads."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import runpy
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dfsq
from calibration import DDTB, Integers, PatchStream, Recipe, Trained, quantize, recipe
from calibration.recipes.recipe import METHODS
from dfsq import networks, nn
from dfsq.artifact import read_header
from dfsq.artifact.file import _DTYPES
from dfsq.artifact.header import VERSION
from dfsq.evaluation.samples import calibration_images
from dfsq.limits import BITS, WORDS
from dfsq.model import SRModel
from dfsq.networks.edsr import EDSR
from dfsq.networks.swinir import SwinIR
from dfsq.nn import INPUT_QUANTIZERS, AffineQuantizer, BoundsQuantizer, InputQuantizer, SubsetQuantizer
from dfsq.quantizers import packing, weights
from dfsq.quantizers.universal import UniversalSet

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "artifact-format.md").read_text(encoding="utf-8")
READER = ROOT / "tests" / "artifact_reader.py"
reader = runpy.run_path(str(READER))

FEW: Mapping[str, Any] = {"patches": 2, "patch_size": 48}
RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "fast": lambda: recipe("fast", **FEW),
    "fast at 2 bits, 5 words": lambda: recipe("fast", w_bits=2, a_bits=2, words=5, **FEW),
    "fast at 7 bits: points as a mask": lambda: recipe("fast", w_bits=7, a_bits=7, **FEW),
    "fast at 8 bits: points evenly spaced": lambda: recipe("fast", w_bits=8, a_bits=8, **FEW),
    "accurate": lambda: recipe("accurate", **FEW),
    "accurate on whole maps": lambda: recipe("accurate", block=None, **FEW),
    "accurate at 3 bits, nothing outside": lambda: recipe("accurate", w_bits=3, a_bits=3, outside_bits=None, **FEW),
    "fast in blocks": lambda: recipe("fast", block=16, **FEW),
    "paper": lambda: recipe("paper", **FEW),
    "log2": lambda: recipe("log2", **FEW),
    "minmax": lambda: recipe("minmax", **FEW),
    "points in fixed ranges": lambda: recipe("minmax", selector="exact", weights="subset", **FEW),
    "int8": lambda: recipe("int8", **FEW),
    "int8 for onnxruntime": lambda: Integers(target="onnxruntime", float_share=0.0, **FEW),
    "ddtb": lambda: DDTB(w_bits=2, a_bits=2, steps=4, batch=2, crop_size=16, warm_up=1, ratio=0.5, **FEW),
    "trained": lambda: Trained(w_bits=2, a_bits=2, steps=4, crop_size=16, **FEW),
}


@pytest.fixture(params=RECIPES)
def artifact(request: pytest.FixtureRequest, plausible_model: SRModel, tmp_path: Path) -> Path:
    images = PatchStream(list(calibration_images()), scale=2, patches=2, patch_size=48)
    path = tmp_path / "a.safetensors"
    dfsq.save(quantize(plausible_model, images, RECIPES[request.param]()), path)
    return path


def test_every_recipe(artifact: Path) -> None:
    check(artifact)
    named = set(re.findall(r"`([^`\n]+)`", PAGE))
    header, found = read_header(artifact), reader["Reader"](artifact)
    assert header.keys() <= named
    for record in (*header["layers"].values(), *header.get("places", {}).values()):
        assert record.keys() <= named
    prefixes = [f"{name}.weight." for name in header["layers"]] + [f"{name}." for name in found.quantizers()]
    assert {suffix for prefix in prefixes for suffix in found.under(prefix)} <= named


@pytest.mark.parametrize("bits", [2, 7])
def test_scales_of_columns(tmp_path: Path, bits: int) -> None:
    torch.manual_seed(bits)
    model = networks.from_state(EDSR(2, 1, 16, 1.0).state_dict())  # wide enough for scales in the body too
    path = tmp_path / "a.safetensors"
    chosen = recipe("accurate", w_bits=bits, a_bits=bits, **FEW)
    dfsq.save(quantize(model, [torch.rand(2, 3, 24, 24)], chosen), path)
    found = reader["Reader"](path)
    assert [name for name in read_header(path)["layers"] if "columns" in found.under(f"{name}.weight.")] == [
        "body.0.body.0",
        "body.0.body.2",
    ]
    check(path)


@pytest.mark.parametrize("bits", range(int(BITS.least), int(BITS.most) + 1))
def test_places_of_attention_at_every_width(tmp_path: Path, bits: int) -> None:
    net = SwinIR(2, 8, [2], [2], 4, 12, "pixelshuffledirect")
    for parameter in net.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0, 0.2)
    model = networks.from_state(net.state_dict())
    path = tmp_path / "a.safetensors"
    dfsq.save(quantize(model, [torch.rand(1, 3, 16, 16)], recipe("fast", w_bits=bits, a_bits=bits)), path)
    assert read_header(path)["places"]
    check(path)


@pytest.mark.parametrize("gates", [False, True])
def test_places_between_bounds(small_model: SRModel, with_bounds: Any, tmp_path: Path, gates: bool) -> None:
    with_bounds(small_model, gates)
    dfsq.save(small_model, tmp_path / "a.safetensors")
    check(tmp_path / "a.safetensors")


@pytest.mark.parametrize("version", range(1, VERSION))
def test_earlier_versions(plausible_model: SRModel, tmp_path: Path, version: int) -> None:
    images = PatchStream(list(calibration_images()), scale=2, patches=2, patch_size=48)
    chosen = recipe("accurate", block=8 if version > 3 else None, columns=version > 5, **FEW)
    dfsq.save(quantize(plausible_model, images, chosen), tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(as_of(version, (tmp_path / "a.safetensors").read_bytes()))
    assert read_header(tmp_path / "b.safetensors")["version"] == version
    check(tmp_path / "b.safetensors")


def as_of(version: int, content: bytes) -> bytes:
    """The same as a file of an earlier version, by what the page says of these; with shares of its own."""
    (length,) = struct.unpack("<Q", content[:8])
    index, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header = json.loads(index.pop("__metadata__")["dfsq"])
    packed = data[slice(*index.pop("dfsq.packed")["data_offsets"])]
    (length,) = struct.unpack("<Q", packed[:8])
    small, rest = json.loads(zlib.decompress(packed[8 : 8 + length])), packed[8 + length :]
    tensors = {name: (each, data[slice(*each["data_offsets"])]) for name, each in index.items()}
    tensors |= {name: (each, rest[slice(*each["data_offsets"])]) for name, each in small.items()}
    if version < 5:
        before_version_5(tensors, header, version)
    header |= {"version": version, "checksum": "0" * 64}
    if version == 1:
        for field in ("checksum", "channels", "body", "found", "fidelity", "code"):
            del header[field]
        for layer in header["layers"].values():
            del layer["words"], layer["inputs"]
    offsets, end = {}, 0
    digest = hashlib.sha256(b"" if version == 1 else json.dumps(header).encode())
    for name, (entry, tensor) in sorted(tensors.items()):
        offsets[name] = {**entry, "data_offsets": [end, end + len(tensor)]}
        end += len(tensor)
        digest.update(f"{name} torch.{reader['NAMES'][entry['dtype']]} {entry['shape']}\n".encode() + tensor)
    header["tensors_sha256" if version == 1 else "checksum"] = digest.hexdigest()
    start = json.dumps({"__metadata__": {"dfsq": json.dumps(header)}, **offsets}).encode()
    return struct.pack("<Q", len(start)) + start + b"".join(tensor for _, (_, tensor) in sorted(tensors.items()))


def before_version_5(tensors: dict[str, tuple[dict[str, Any], bytes]], header: dict[str, Any], version: int) -> None:
    """Put points, codes and shares into the forms of those versions."""
    for name in [name for name in tensors if name.endswith(".gaps")]:
        place = name.removesuffix(".gaps").rpartition(".")
        record = header["layers"][place[0]]
        bits = record["w_bits" if place[2] == "weight" else "a_bits"]
        rows = record["shape"][0 if place[2] == "weight" else 1]
        gaps = reader["codes"](np.frombuffer(tensors.pop(name)[1], "u1"), 8, rows * 2**bits)
        indices = torch.from_numpy(gaps).view(rows, -1).cumsum(1)
        tensors[name.replace(".gaps", ".points")] = written(packing.pack(indices, UniversalSet().index_bits))
    for layer, record in header["layers"].items():
        count = math.prod(record["shape"])
        codes = reader["codes"](np.frombuffer(tensors[f"{layer}.weight.codes"][1], "u1"), record["w_bits"], count)
        tensors[f"{layer}.weight.codes"] = written(packing.pack(torch.from_numpy(codes), record["w_bits"]))
    for name in [name for name in tensors if name.endswith(".input.shares")]:
        place = name.removesuffix(".shares")
        order = torch.frombuffer(bytearray(tensors[f"{place}.order"][1]), dtype=torch.uint8)
        tensors[f"{place}.order"] = written(order.to(torch.int16))
        del tensors[f"{place}.scales"]
        count = len(order) * (len(order) - 1) // 2
        if version < 3:
            tensors[name] = written(torch.rand(count).bfloat16())
        else:
            tensors[name] = written(packing.pack(torch.randint(0, 16, (count,)), 4))
            tensors[f"{place}.largest"] = written(torch.rand(len(order)).bfloat16())


def written(tensor: Tensor) -> tuple[dict[str, Any], bytes]:
    """A tensor as an index describes it, and its bytes."""
    dtype = next(name for name, (torchs, _) in _DTYPES.items() if torchs == str(tensor.dtype))
    return {"dtype": dtype, "shape": list(tensor.shape)}, tensor.view(torch.uint8).numpy().tobytes()


def check(path: Path) -> None:
    """That the reader finds what dfsq loads: weights, points and shares to the bit, and what becomes of values."""
    model, found = dfsq.load(path), reader["Reader"](path)
    assert found.is_whole
    state = model.net.state_dict()
    for name, layer in nn.quantized_layers(model.net):
        assert torch.equal(torch.from_numpy(found.weight(name)), layer.weight.cpu().contiguous()), name
        del state[f"{name}.weight"]
    others = found.others()
    assert others.keys() == state.keys()
    for name, each in state.items():
        assert torch.equal(torch.tensor(others[name]), each), name
    there = expected(model)
    assert there.keys() == found.quantizers().keys()
    for name, quantizer in found.quantizers().items():
        check_quantizer(name, quantizer, *there[name])


def expected(model: SRModel) -> dict[str, tuple[InputQuantizer, int]]:
    """What rounds in a model, and how many channels it sees, by the prefix of its tensors."""
    found: dict[str, tuple[InputQuantizer, int]] = {}
    for name, layer in nn.quantized_layers(model.net):
        if layer.input_quantizer is not None:
            found[f"{name}.input"] = layer.input_quantizer, nn.input_channels(layer)
        if layer.output_quantizer is not None:
            found[f"{name}.output"] = layer.output_quantizer, len(layer.weight)
    for name, place in nn.quantized_places(model.net):
        channels = len(place.points) if isinstance(place, SubsetQuantizer) else 8
        found[f"{name}.place"] = place, channels
    return found


def check_quantizer(name: str, found: Any, there: InputQuantizer, channels: int) -> None:
    assert (found.kind, found.bits, found.signed) == (there.kind, there.bits, there.signed)
    if isinstance(there, SubsetQuantizer):
        assert torch.equal(torch.tensor(found.points(channels)), there.points.long()), name
        if there.feedback is not None:
            assert torch.equal(torch.tensor(found.shares(channels)), there.feedback.shares), name
            assert found.stored["order"].tolist() == there.feedback.order.tolist()
    x = values(there, channels)
    rounded = there(x).movedim(there.channel_axis, -1)
    samples = x.movedim(there.channel_axis, -1)
    if "block" not in found.stored:
        samples = samples.flatten(1, -2)
    ours = torch.from_numpy(np.stack([found.round(each.numpy()) for each in samples])).view(rounded.shape)
    # Sums in another order: a value on an edge may go to the neighbouring level, with feedback later ones too.
    close = torch.isclose(ours, rounded, rtol=1e-5, atol=1e-6)
    assert close.float().mean() >= (0.97 if getattr(there, "feedback", None) is not None else 0.999), name


def values(there: InputQuantizer, channels: int) -> Tensor:
    """Two samples as the quantizer may see them, spread over what it tells apart and beyond."""
    if isinstance(there, AffineQuantizer):
        spread = there.steps.max().item() * 2**there.bits
    elif isinstance(there, BoundsQuantizer):
        spread = (there.upper - there.lower).item()
    else:
        spread = 1.0 if there.limit is None else there.limit.max().item()
    x = torch.randn(2, channels, 9, 17) * spread / 2
    x = x if there.signed else x.relu()
    return x.movedim(1, there.channel_axis).contiguous()


def test_reader_is_independent() -> None:
    tree = ast.walk(ast.parse(READER.read_text(encoding="utf-8")))
    imported = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    tree = ast.walk(ast.parse(READER.read_text(encoding="utf-8")))
    imported |= {str(node.module) for node in tree if isinstance(node, ast.ImportFrom)}
    own = {"__future__", "hashlib", "itertools", "json", "numpy", "numpy.typing", "pathlib", "struct", "typing", "zlib"}
    assert imported == own


def own(kinds: Mapping[str, type]) -> set[str]:
    """Names of those that dfsq has, without any that other tests have registered."""
    return {name for name, kind in kinds.items() if kind.__module__.startswith("dfsq.")}


def test_page_names_all_kinds_and_dtypes() -> None:
    named = set(re.findall(r"`([^`\n]+)`", PAGE))
    assert named >= own(weights.KINDS) | own(INPUT_QUANTIZERS)
    assert f"format version {VERSION}" in PAGE
    (dtypes,) = re.findall(r"`dtype` is ([^;]+);", PAGE)
    assert set(re.findall(r"\b[A-Z]+[0-9]*\b", dtypes)) == set(_DTYPES) == set(reader["NAMES"])
    for dtype, (name, size) in _DTYPES.items():
        assert name == f"torch.{reader['NAMES'][dtype]}"
        assert dtype == "BF16" or np.dtype(reader["DTYPES"][dtype]).itemsize == size


def test_worked_example_of_codes() -> None:
    assert "1, 2, 7 and 5" in PAGE and "0xD1 0x0B" in PAGE
    assert packing.pack(torch.tensor([1, 2, 7, 5]), 3).tolist() == [0xD1, 0x0B]


@pytest.mark.parametrize("words", range(int(WORDS.least), int(WORDS.most) + 1))
def test_universal_set(words: int) -> None:
    universal = UniversalSet(words)
    assert reader["universal"](words).tolist() == universal.numerators.tolist()
    assert universal.denominator == words * 4**words
    if words == 4:
        assert f"gives D = {universal.denominator} and {len(universal)} elements" in PAGE


def test_methods_are_all_covered() -> None:
    assert {make().method for make in RECIPES.values()} == set(METHODS)


def test_every_kind_is_met(plausible_model: SRModel) -> None:
    images = PatchStream(list(calibration_images()), scale=2, patches=2, patch_size=48)
    kinds = {"weights": set(), "inputs": set()}  # type: dict[str, set[str]]
    for make in RECIPES.values():
        for _, layer in nn.quantized_layers(quantize(plausible_model, images, make()).net):
            kinds["weights"].add(layer.quantized_weight.kind)
            if layer.input_quantizer is not None:
                kinds["inputs"].add(layer.input_quantizer.kind)
    assert kinds == {"weights": own(weights.KINDS), "inputs": own(INPUT_QUANTIZERS)}
