"""Artifacts as a forger makes them: taken apart, changed and put together with a checksum that is right.

Written by the description of the format, not by the code under test.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dfsq
from calibration import OnePass, quantize
from dfsq import networks
from dfsq.errors import ArtifactError, DfsqError
from dfsq.model import SRModel
from dfsq.networks.edsr import EDSR

BEYOND_NORMAL = 1_500_000_000
"""Bytes that no input may make a process take on top of what it has."""
PATIENCE = 300
"""Seconds after which a whole loop has surely hung."""
DTYPES = {
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
}
CODES = {**{dtype: code for code, dtype in DTYPES.items()}, torch.int64: "I64", torch.float64: "F64"}
BLANK = "0" * 64
PACKED = "dfsq.packed"
LONGEST = 5
"""Seconds that reading any file may take."""


@dataclass(frozen=True)
class Forgery:
    """The text of a header, with BLANK for its checksum, and tensors by name."""

    header: str
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, path: Path) -> Forgery:
        index, data = opened(path.read_bytes())
        header = index.pop("__metadata__")["dfsq"]
        header = header.replace(json.loads(header)["checksum"], BLANK)
        tensors = decoded(index, data)
        packed = raw(tensors.pop(PACKED))
        (length,) = struct.unpack("<Q", packed[:8])
        tensors |= decoded(json.loads(zlib.decompress(packed[8 : 8 + length])), packed[8 + length :])
        return cls(header, tensors)

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.header)
        return document

    def with_document(self, document: dict[str, Any]) -> Forgery:
        return replace(self, header=json.dumps(document, sort_keys=True))

    def with_tensors(self, **tensors: Tensor | None) -> Forgery:
        changed = {**self.tensors, **tensors}
        return replace(self, tensors={name: tensor for name, tensor in changed.items() if tensor is not None})

    def checksum(self, text: str) -> str:
        digest = hashlib.sha256(text.encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode() + raw(tensor))
        return digest.hexdigest()

    def content(self, change: Callable[[dict[str, Any]], object] = lambda index: None) -> bytes:
        """The bytes of the file; ``change`` may edit what it says of the tensors."""
        header = self.header.replace(BLANK, self.checksum(self.header))
        return encoded({"dfsq": header}, self.tensors, change)

    def packed(self, change: Callable[[dict[str, Any]], object] = lambda index: None) -> Forgery:
        """The same with all but the codes packed; ``change`` may edit the index of what is packed."""
        small = {name: tensor for name, tensor in self.tensors.items() if not name.endswith(".codes")}
        content = encoded(None, small, change)
        (length,) = struct.unpack("<Q", content[:8])
        index = zlib.compress(content[8 : 8 + length])
        return self.with_packed(struct.pack("<Q", len(index)) + index + content[8 + length :])

    def with_packed(self, packed: bytes) -> Forgery:
        """The same with whatever in place of all tensors but the codes."""
        codes = {name: tensor for name, tensor in self.tensors.items() if name.endswith(".codes")}
        return replace(self, tensors={**codes, PACKED: torch.tensor(list(packed), dtype=torch.uint8)})

    def version_2(self) -> bytes:
        """The bytes of a file of version 2 that says the same."""
        return self.with_document({**self.document, "version": 2}).content()

    def version_1(self) -> bytes:
        """The bytes of a file of version 1 that says the same."""
        old = self.document
        layers = old.pop("layers")
        for key in ("body", "channels", "checksum", "code", "fidelity", "found"):
            del old[key]
        for name, layer in layers.items():
            del layer["words"], layer["inputs"]
            layer["in_channels"] = None if layer["a_bits"] is None else len(self.tensors[f"{name}.input.order"])
        old |= {"version": 1, "layers": layers, "tensors_sha256": self.checksum("")}
        return encoded({"dfsq": json.dumps(old, sort_keys=True)}, self.tensors)


def opened(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Index and data of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def decoded(index: dict[str, Any], data: bytes) -> dict[str, Tensor]:
    tensors = {}
    for name, entry in index.items():
        start, stop = entry["data_offsets"]
        flat = torch.frombuffer(bytearray(data[start:stop]), dtype=DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def encoded(
    metadata: dict[str, str] | None,
    tensors: dict[str, Tensor],
    change: Callable[[dict[str, Any]], object] = lambda index: None,
) -> bytes:
    index: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, tensor in tensors.items():
        offsets = [len(data), len(data) + len(raw(tensor))]
        index[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        data += raw(tensor)
    change(index)
    text = json.dumps(index).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def raw(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Judge:
    """Loads files and says what is wrong with how that went."""

    def __init__(self, path: Path, original: bytes) -> None:
        self._path = path
        self._x = torch.rand(1, 3, 12, 9, generator=torch.Generator().manual_seed(0))
        path.write_bytes(original)
        self._expected = self._picture(dfsq.load(path))

    def _picture(self, model: SRModel) -> Tensor:
        with torch.inference_mode():
            picture: Tensor = model(self._x)
        return picture

    def load(self, content: bytes) -> SRModel:
        self._path.write_bytes(content)
        return dfsq.load(self._path)

    def refusal(self, content: bytes) -> str:
        """The message with which a file is refused."""
        with pytest.raises(ArtifactError) as caught:
            self.load(content)
        return str(caught.value)

    def complaints(self, what: str, content: bytes, *, may_differ: bool = False) -> list[str]:
        """Empty where the file is refused in one line, or gives the picture of the original, in time.

        ``may_differ``: any picture will do.
        """
        self._path.write_bytes(content)
        began = time.monotonic()
        try:
            picture = self._picture(dfsq.load(self._path))
            same = torch.equal(picture, self._expected)
            found = [] if same or may_differ else [f"{what}: another picture"]
        except DfsqError as error:
            found = [] if "\n" not in str(error) else [f"{what}: more than a line: {error}"]
        except BaseException as error:
            found = [f"{what}: {type(error).__name__}: {error}"]
        took = time.monotonic() - began
        return found if took < LONGEST else [*found, f"{what}: took {took:.1f} s"]

    def all_complaints(self, cases: Iterable[tuple[str, bytes]], *, may_differ: bool = False) -> list[str]:
        """Of all cases, each with what it is."""
        return [each for case in cases for each in self.complaints(*case, may_differ=may_differ)]


@pytest.fixture(scope="session")
def forgery(tmp_path_factory: pytest.TempPathFactory) -> Forgery:
    """A small network with error feedback, limits, subset and uniform weights."""
    torch.manual_seed(0)
    net = EDSR(scale=2, blocks=1, features=8, residual_scale=1.0)
    for shift in (net.sub_mean, net.add_mean):
        torch.nn.init.dirac_(shift.weight)
        torch.nn.init.zeros_(shift.bias)
    x = torch.rand(1, 3, 14, 14, generator=torch.Generator().manual_seed(4))
    path = tmp_path_factory.mktemp("forgery") / "a.safetensors"
    dfsq.save(quantize(networks.from_state(net.state_dict()), [x], OnePass(feedback=True)), path)
    return Forgery.of(path)


@pytest.fixture(scope="session")
def placed_forgery(
    tmp_path_factory: pytest.TempPathFactory, with_bounds: Callable[[SRModel, bool], SRModel]
) -> Forgery:
    """A small network with quantized places, bounds and gates."""
    torch.manual_seed(1)
    net = EDSR(scale=2, blocks=1, features=8, residual_scale=1.0)
    path = tmp_path_factory.mktemp("placed") / "a.safetensors"
    dfsq.save(with_bounds(networks.from_state(net.state_dict()), True), path)
    return Forgery.of(path)


@pytest.fixture
def placed_judge(placed_forgery: Forgery, tmp_path: Path) -> Judge:
    return Judge(tmp_path / "forged.safetensors", placed_forgery.content())


@pytest.fixture
def judge(forgery: Forgery, tmp_path: Path) -> Judge:
    return Judge(tmp_path / "forged.safetensors", forgery.content())


@pytest.fixture
def confined() -> Callable[[Callable[[], list[str]]], list[str]]:
    """Runs a function in a child process that gets no more memory than it may need, and returns its result."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits memory as Linux does")

    def run(function: Callable[[], list[str]]) -> list[str]:
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)

        def work() -> None:
            torch.set_num_threads(1)  # a fork has none of its parent's threads
            with open("/proc/self/statm") as file:
                taken = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + BEYOND_NORMAL, resource.RLIM_INFINITY))
            sender.send(function())

        process = context.Process(target=work)
        process.start()
        sender.close()
        try:
            assert receiver.poll(PATIENCE), "it hangs"
            result: list[str] = receiver.recv()  # EOFError: it died
        finally:
            process.kill()
            process.join()
        return result

    return run
