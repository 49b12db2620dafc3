"""Artifacts with tensors that do not fit their layers, and indices that do not fit their files; checksums are right."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dfsq
from dfsq import artifact
from dfsq.errors import ArtifactError
from dfsq.quantizers import native

LAYER = "body.0.body.2"
OTHER = "tail.0.0"
C = 8
BF16 = torch.bfloat16


def stream(count: int, strategy: int = zlib.Z_HUFFMAN_ONLY) -> Tensor:
    """A zlib stream that unpacks to zeros."""
    deflated = zlib.compressobj(9, strategy=strategy)
    return torch.frombuffer(bytearray(deflated.compress(bytes(count)) + deflated.flush()), dtype=torch.uint8)


TENSORS: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "order shorter": ({"order": torch.zeros(1).short(), "shares": torch.zeros(0, dtype=BF16)}, "order is"),
    "order longer": (
        {"order": torch.arange(200).short(), "shares": torch.zeros(200 * 199 // 2, dtype=BF16)},
        r"order is torch.int16 of shape \(200,\); it must be torch.int16 of shape \(8,\)",
    ),
    "order outside": ({"order": torch.arange(1, 9).short()}, "order"),
    "order negative": ({"order": torch.arange(-1, 7).short()}, "order"),
    "order twice": ({"order": torch.zeros(C).short()}, "order"),
    "order absent": ({"order": None}, "order is missing"),
    "order of floats": ({"order": torch.arange(C).float()}, "order is"),
    "shares shorter": ({"shares": torch.zeros(27, dtype=BF16)}, "shares is"),
    "shares of other floats": ({"shares": torch.zeros(28)}, "shares is torch.float32"),
    "shares in a stream that unpacks to more": ({"shares": stream(29)}, "none of 28 codes"),
    "scales absent": ({"scales": None}, "shares is torch.uint8"),
    "scales shorter": ({"scales": torch.zeros(2, 1, dtype=torch.int8)}, "scales is"),
    "scales of a row": ({"scales": torch.zeros(2 * C, dtype=torch.int8)}, "scales is"),
    "scales too large": ({"scales": torch.full((2, C), 127, dtype=torch.int8)}, "scales has a value of 127"),
    "scales too small": ({"scales": torch.full((2, C), -128, dtype=torch.int8)}, "scales has a value of -128"),
    "scales of floats": ({"scales": torch.zeros(2, C)}, "scales is torch.float32"),
    "largest not finite": ({"scales": None, "largest": torch.full((C,), torch.nan, dtype=BF16)}, "not finite"),
    "shares not finite": ({"scales": None, "shares": torch.full((28,), torch.nan, dtype=BF16)}, "not finite"),
    "shares absent": ({"shares": None}, "shares is missing"),
    "limit shorter": ({"limit": torch.ones(1, dtype=BF16)}, "limit is"),
    "limit longer": ({"limit": torch.ones(9, dtype=BF16)}, "limit is"),
    "limit zero": ({"limit": torch.zeros(C, dtype=BF16)}, "limit has a value of 0; it must be above 0"),
    "limit negative": ({"limit": -torch.ones(C, dtype=BF16)}, "limit has a value of -1"),
    "limit not finite": ({"limit": torch.full((C,), torch.inf, dtype=BF16)}, "not finite"),
    "limit of other floats": ({"limit": torch.ones(C)}, "limit is torch.float32"),
    "points beyond 1": ({"gaps": None, "points": torch.full((C, 16), 1025).short()}, "points has a value of 1025"),
    "points below -1": ({"gaps": None, "points": torch.full((C, 16), -32768).short()}, "points has a value of -32768"),
    "points descending": ({"gaps": None, "points": torch.arange(16, 0, -1).repeat(C, 1).short()}, "ascend"),
    "points of fewer channels": ({"gaps": None, "points": torch.zeros(1, 16).short()}, "points is"),
    "points fewer": ({"gaps": None, "points": torch.zeros(C, 4).short()}, "points is"),
    "points outside the set": ({"gaps": None, "points": torch.full((144,), 255).byte()}, "point index 511"),
    "points and gaps": ({"points": torch.arange(16).repeat(C, 1).short()}, "points and gaps are both there"),
    "gaps outside the set": ({"gaps": torch.full((C * 16,), 24).byte()}, "point index 384"),
    "gaps fewer": ({"gaps": torch.zeros(2).byte()}, "gaps is"),
    "gaps of floats": ({"gaps": torch.zeros(C * 16)}, "gaps is torch.float32"),
    "points absent": ({"gaps": None, "points": None}, "points is missing"),
    "fixed as well": ({"fixed": torch.ones(2)}, "fixed goes with no limit"),
    "fixed of other channels": ({"fixed": torch.ones(2, C + 1)}, "fixed is"),
    "fixed of one row": ({"fixed": torch.ones(1, C)}, "fixed is"),
    "fixed without a spread": ({"fixed": torch.zeros(2, C)}, "fixed has a spread of 0; it must be above 0"),
    "fixed not finite": ({"fixed": torch.full((2, C), torch.nan)}, "not finite"),
    "something else": ({"bonus": torch.ones(2)}, "no use for the tensor 'bonus'"),
}  # fmt: skip
"""Tensors of the input of LAYER that take the place of its own, and what the refusal says."""

WEIGHTS: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "scale not finite": ({"scale": torch.full((32,), torch.nan)}, "not finite"),
    "scale zero": ({"scale": torch.zeros(32)}, "scale has a value of 0; it must be above 0"),
    "scale shorter": ({"scale": torch.ones(1)}, "scale is"),
    "scale too large": ({"scale": torch.full((32,), 3e38)}, "not finite"),
    "zero point shorter": ({"zero_point": torch.zeros(1).byte()}, "zero_point is"),
    "codes shorter": ({"codes": torch.zeros(2303).byte()}, "codes is"),
    "codes in a stream of fewer": ({"codes": stream(2303)}, "none of 2304 codes"),
    "codes in a stream of more": ({"codes": stream(2305)}, "none of 2304 codes"),
    "codes in a stream that is cut": ({"codes": stream(2304)[:-1]}, "none of 2304 codes"),
    "codes in a stream with more behind": ({"codes": torch.cat([stream(2304), torch.zeros(1).byte()])}, "none of 2304"),
    "codes in a damaged stream": ({"codes": stream(2304).flip(0)}, "codes is .* bytes; it must be"),
    "codes in a stream that unpacks to far more": ({"codes": stream(10**6, zlib.Z_RLE)}, "none of 2304 codes"),
    "codes longer": ({"codes": torch.zeros(9999).byte()}, "codes is"),
    "codes absent": ({"codes": None}, "codes is missing"),
    "points of another kind": ({"points": torch.zeros(32, 4).short()}, "no use for the tensor 'points'"),
}
"""The same of the weight of OTHER."""

PARAMETERS: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "not finite": ({"head.0.weight": torch.full((8, 3, 3, 3), torch.nan)}, "head.0.weight has values"),
    "beyond float32": ({"head.0.bias": torch.full((8,), 1e300, dtype=torch.float64)}, "not finite"),
    "integers": ({"head.0.bias": torch.ones(8).long()}, "head.0.bias is torch.int64"),
    "misshapen": ({"head.0.bias": torch.ones(9)}, "head.0.bias"),
    "absent": ({"head.0.bias": None}, "missing: head.0.bias"),
    "unexpected": ({"neck.weight": torch.ones(1)}, "unexpected: neck.weight"),
    "control characters": ({"\x1b[2Jneck\n": torch.ones(1)}, "not printable"),
}  # fmt: skip
"""The same of what is not quantized."""


@pytest.fixture(params=[False, True], ids=["torch", "C"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setattr(native, "library", library if request.param else None)


@pytest.fixture(scope="module")
def library() -> Any:
    before = native.library
    try:
        native.build()
    except RuntimeError as error:
        pytest.skip(str(error))
    built, native.library = native.library, before
    return built


@pytest.mark.usefixtures("_way")
def test_tensors_that_do_not_fit(forgery: Any, judge: Any) -> None:
    tables = ((TENSORS, f"{LAYER}.input."), (WEIGHTS, f"{OTHER}.weight."), (PARAMETERS, ""))
    for table, prefix in tables:
        for what, (changes, said) in table.items():
            forged = forgery.with_tensors(**{prefix + name: tensor for name, tensor in changes.items()})
            message = judge.refusal(forged.content())
            assert re.search(said, message), f"{what}: {message}"
            assert message.isprintable(), what


def resize(index: dict[str, Any], name: str, **changes: Any) -> None:
    index[name] = {**index[name], **changes}


INDICES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "overlap": (lambda index: resize(index, "head.0.bias", data_offsets=[0, 32]), "begins at byte|claims the shape"),
    "backwards": (lambda index: resize(index, "head.0.bias", data_offsets=[32, 0]), "begins and ends"),
    "beyond the file": (lambda index: resize(index, "head.0.bias", data_offsets=[0, 2**40]), "begins and ends"),
    "larger shape": (lambda index: resize(index, "head.0.bias", shape=[2**40]), "claims the shape"),
    "absurd shape": (lambda index: resize(index, "head.0.bias", shape=[10**30]), "integers from 0 to"),
    "negative shape": (lambda index: resize(index, "head.0.bias", shape=[-2, -4]), "integers from 0 to"),
    "many axes": (lambda index: resize(index, "head.0.bias", shape=[1] * 1000), "at most 8 sizes"),
    "unknown dtype": (lambda index: resize(index, "head.0.bias", dtype="C64"), "dtype is"),
    "no object": (lambda index: index.update({"head.0.bias": []}), "must be an object"),
    "a gap": (lambda index: index.pop("head.0.bias"), "begins at byte|tensors have"),
    "metadata of numbers": (lambda index: index["__metadata__"].update(n=1), "an object of strings"),
}


def test_indices_that_do_not_fit_the_file(forgery: Any, judge: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for what, (change, said) in INDICES.items():
        path.write_bytes(forgery.content(change))
        with pytest.raises(ArtifactError, match=said):
            artifact.load(path)
        assert judge.complaints(what, path.read_bytes()) == []


def test_indices_that_do_not_fit_what_is_packed(forgery: Any, judge: Any) -> None:
    for what, (change, said) in INDICES.items():
        if what != "metadata of numbers":
            message = judge.refusal(forgery.packed(change).content())
            assert re.search(said, message), f"{what}: {message}"


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**24) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 6_000_000) + b'{"a":' * 1_200_000,
        struct.pack("<Q", 5009) + b'{"a": ' + b"9" * 5000 + b"}  ",
    ],
)
def test_what_is_no_index(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(start)
    assert not artifact.is_artifact(tmp_path / "a.safetensors")
    with pytest.raises(ArtifactError, match="truncated or damaged"):
        artifact.load(tmp_path / "a.safetensors")


def test_two_fields_of_one_name_are_refused(forgery: Any, judge: Any) -> None:
    twice = forgery.header.replace('"scale":2', '"scale":2,"scale":2')
    assert "occurs twice" in judge.refusal(type(forgery)(twice, forgery.tensors).content())


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    assert not artifact.is_artifact(tmp_path / "a.safetensors")
    with pytest.raises(ArtifactError, match="no regular file"):
        artifact.load(tmp_path / "a.safetensors")


def test_claims_larger_than_the_file_take_no_memory(forgery: Any, judge: Any, confined: Any) -> None:
    def claims(**changes: int) -> bytes:
        document = forgery.document
        document["hyperparameters"].update(changes)
        document["scale"] = document["hyperparameters"]["scale"]
        return forgery.with_document(document).content()  # type: ignore[no-any-return]

    cases = [(f"{key} {value}", claims(**{key: value})) for key in ("blocks", "features", "scale") for value in
             (0, 3, 10, 1000, 10**5, 10**6, 10**9, 2**63, 10**30)]  # fmt: skip
    assert confined(lambda: judge.all_complaints(cases)) == []


def test_a_file_of_version_1_gives_the_same_picture(forgery: Any, judge: Any, tmp_path: Path) -> None:
    assert judge.complaints("version 1", forgery.version_1()) == []
    judge.load(forgery.version_1())
    (tmp_path / "old.safetensors").write_bytes(forgery.version_1())
    header = artifact.read_header(tmp_path / "old.safetensors")
    assert header["version"] == 1
    assert header["layers"][LAYER]["words"] == 4
    model = dfsq.load(tmp_path / "old.safetensors")
    assert model.body == ("body.0.body.0", "body.0.body.2")


def test_a_file_of_version_2_gives_the_same_picture(forgery: Any, judge: Any, tmp_path: Path) -> None:
    (tmp_path / "old.safetensors").write_bytes(forgery.version_2())
    assert judge.complaints("version 2", forgery.version_2()) == []
    assert artifact.read_header(tmp_path / "old.safetensors")["version"] == 2


def test_version_1_is_checked_as_later_ones_are(forgery: Any, judge: Any) -> None:
    for changes, said in TENSORS.values():
        if "order" in changes and changes["order"] is None:
            continue  # its writer here needs one
        forged = forgery.with_tensors(**{f"{LAYER}.input.{name}": tensor for name, tensor in changes.items()})
        with pytest.raises(ArtifactError, match=said):
            judge.load(forged.version_1())
    forged = forgery.with_document({**forgery.document, "recipe": {"words": 10**9}})
    with pytest.raises(ArtifactError, match="recipe.words is 1000000000"):
        judge.load(forged.version_1())


def test_decoding_does_not_depend_on_the_recipe(forgery: Any, judge: Any) -> None:
    document = {**forgery.document, "recipe": {"name": "none of yours", "words": 1}}
    assert judge.complaints("another recipe", forgery.with_document(document).content()) == []
    assert json.loads(forgery.header)["layers"][LAYER]["words"] == 4
