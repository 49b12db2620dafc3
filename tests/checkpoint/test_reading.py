"""Files that are damaged, or made to exhaust memory, hang or execute code: one line each."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dfsq.checkpoint import read_state, read_states
from dfsq.errors import CheckpointError

STATE = {"conv.weight": torch.arange(36.0).view(2, 2, 3, 3), "tail.bias": torch.ones(2)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pth"


def refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_states(path)
    assert "\n" not in str(caught.value)


class Foreign:
    """What training code might keep beside the weights; torch does not know it."""


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("open('executed', 'w')",)


def test_harmless_objects_beside_the_weights_do_not_matter(path: Path) -> None:
    beside = {
        "args": argparse.Namespace(scale=np.int64(2), path=Path("/data"), when=datetime.datetime(2024, 1, 1)),
        "best": np.float64(38.0),
        "curve": np.arange(3.0),
        "betas": {"a": (0.9, 0.99), "b": {1, 2}, "c": frozenset((3,)), "d": 3j, "e": b"bytes", "f": 10**40},
    }
    torch.save({"params": STATE, **beside}, path)
    assert torch.equal(read_state(path)["conv.weight"], STATE["conv.weight"])


@pytest.mark.parametrize("beside", [Foreign(), Malicious(), torch.nn.Conv2d(1, 1, 1), Foreign])
def test_foreign_code_is_named_and_not_run(path: Path, beside: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for zipped in (True, False):
        torch.save({"params": STATE, "beside": beside}, path, _use_new_zipfile_serialization=zipped)
        refused(path, r"holds more than tensors( \([\w.]+\))?, and loading it could execute code; save only")
    path.write_bytes(pickle.dumps(beside if beside is not Foreign else Malicious()))
    refused(path, "could execute code")
    assert not Path("executed").exists()


def test_another_pickle_protocol_says_so(path: Path) -> None:
    torch.save(STATE, path, pickle_protocol=4)
    refused(path, "pickle protocol.*without pickle_protocol")


def test_bad_checksums_are_damage(path: Path) -> None:
    torch.save(STATE, path)
    content = bytearray(path.read_bytes())
    content[content.index(STATE["conv.weight"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    refused(path, "is damaged: checkpoint/data/0 contradicts its checksum; download it again")


def test_checkpoints_without_checksums_are_read(path: Path) -> None:
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, path)
    finally:
        torch.serialization.set_crc32_options(computed)
    assert read_state(path).keys() == STATE.keys()


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_cut_files_are_refused(path: Path, kind: str) -> None:
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    for share in range(20):
        path.write_bytes(content[: len(content) * share // 20])
        refused(path, "empty|truncated")


def rewritten(path: Path, edit: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Replace the pickle of a checkpoint, with a right checksum."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, edit(content) if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("claims", [("K\x04t",), ("K\x04\x85",), ("K\x04t", "K\x04\x85")])
def test_claims_beyond_the_records_are_refused(path: Path, claims: tuple[str, ...]) -> None:
    """A storage, a shape, or both of a billion elements, on four."""
    torch.save({"weight": torch.arange(4.0)}, path)

    def edit(content: bytes) -> bytes:
        for claim in claims:
            small = claim.encode("latin-1")
            assert small in content
            content = content.replace(small, b"J" + struct.pack("<i", 10**9) + small[2:])
        return content

    rewritten(path, edit)
    refused(path, "truncated or no PyTorch checkpoint")


@pytest.mark.parametrize("number, shape", [(1, (10**5, 10**5)), (500, (1000, 1000))])
def test_few_values_with_a_huge_shape_are_refused(path: Path, number: int, shape: tuple[int, int]) -> None:
    torch.save({f"{index}.weight": torch.zeros(1).expand(shape) for index in range(number)}, path)
    refused(path, "claims over 16 times its size")


def test_expanded_parameters_of_usual_size_are_read(path: Path) -> None:
    torch.save({**STATE, "scale.weight": torch.ones(1).expand(64, 1)}, path)
    assert torch.equal(read_state(path)["scale.weight"], torch.ones(64, 1))


def test_compressed_archives_are_read_unless_they_are_bombs(path: Path) -> None:
    torch.save(STATE, path)
    rewritten(path, bytes, zipfile.ZIP_DEFLATED)
    assert torch.equal(read_state(path)["conv.weight"], STATE["conv.weight"])
    torch.save({"weight": torch.zeros(10**6, 4)}, path)
    rewritten(path, bytes, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    refused(path, "claims over 16 times its size")


def test_a_safetensors_header_cannot_claim_more_than_the_file(tmp_path: Path) -> None:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}).encode()
    (tmp_path / "huge").write_bytes(struct.pack("<Q", len(header)) + header + b"abcd")
    refused(tmp_path / "huge", "truncated or no safetensors file")


def repeated(times: int, join: bytes) -> bytes:
    """``times`` times: the object on the stack is kept in the memo and joined with itself."""
    return b"".join(b"q%c" % index + join.replace(b"?", b"h%c" % index) for index in range(times))


CRAFTED = {
    "a key of 2 ** 60 tuples": (b"})" + repeated(60, b"?\x86") + b"Ns.", "nests tuples without end"),
    "a key of 10 ** 6 nested tuples": (b"})" + b"\x85" * 10**6 + b"Ns.", "nests tuples without end"),
    "a huge key many times": (
        b"})" + repeated(20, b"?\x86") + b"q\xff0"[:2] + b"Ns" + b"h\xffNs" * 9 + b".",
        "repeats keys without end",
    ),
    "bytearray": (b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "calls a constructor that takes sizes"),
    "tensor": (b"ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.", "calls a constructor that takes sizes"),
    "storage": (b"ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.", "calls a constructor that takes sizes"),
    "a call of 2 ** 60 lists": (b"]" + repeated(60, b"](h\x00?e") + b")R.", "calls what is no function"),
    "stack underflow": (b"R.", "truncated or no PyTorch checkpoint"),
    "no end": (b"}", "truncated or no PyTorch checkpoint"),
    "unknown instruction": (b"\xff.", "truncated or no PyTorch checkpoint"),
    "huge memo": (b"}r\xff\xff\xff\xff.", "mapping of nothing"),
    "long string": (b"X\xff\xff\xff\xff.", "truncated or no PyTorch checkpoint"),
}


@pytest.mark.parametrize("name", CRAFTED)
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_crafted_pickles_end_at_once(path: Path, name: str, kind: str) -> None:
    content, message = CRAFTED[name]
    torch.save({}, path, _use_new_zipfile_serialization=kind == "zip")
    if kind == "zip":
        rewritten(path, lambda _: b"\x80\x02" + content)
    else:
        own = pickle.dumps({}, protocol=2) + pickle.dumps([], protocol=2)
        before = path.read_bytes().removesuffix(own)
        path.write_bytes(before + b"\x80\x02" + content + pickle.dumps([], protocol=2))
    refused(path, message)


def test_exhausted_memory_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(STATE, path)

    def exhausted(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes")

    monkeypatch.setattr(torch, "load", exhausted)
    refused(path, "does not fit into memory")


def test_unreadable_files(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("permissions do not bind this user")
    refused(path, "cannot read .*Permission denied")
