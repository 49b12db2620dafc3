"""What a file is, by its content: each kind has a remedy of its own, and no suffix decides."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from dfsq.checkpoint import Kind, kind_of, read_state
from dfsq.errors import CheckpointError

STATE = {"conv.weight": torch.arange(36.0).view(2, 2, 3, 3), "tail.bias": torch.ones(2)}


def picture(file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, file_format)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    return buffer.getvalue()


def torchscript() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but people have such files
        torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.rand(1, 1, 2, 2)), buffer)
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def checkpoint(**options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(STATE, buffer, **options)
    return buffer.getvalue()


EXPORTED = "that it was exported from"
OTHERS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git-LFS pointer.*git lfs pull"),
    "html": (b"\n\n<!DOCTYPE html><html><title>Sign in</title>", "web page.*direct link"),
    "html without doctype": (b"<HTML><body>404", "web page"),
    "server error": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "server's error message.*download it again"),
    "openvino": (b'<?xml version="1.0"?>\n<net name="sr" version="11">', f"OpenVINO.*{EXPORTED}"),
    "json": (b'{"error": "not found"}', "JSON document"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x80", f"ONNX network.*{EXPORTED}"),
    "tflite": (b"\x1c\0\0\0TFL3\x14\0\x20\0", f"TensorFlow Lite.*{EXPORTED}"),
    "tensorflow": (b"\x08\x01\x12\xba\x01", f"SavedModel.*{EXPORTED}"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0\0", "HDF5.*convert its weights"),
    "ncnn param": (b"7767517\n75 83\nInput data 0 1 data\n", f"ncnn network.*{EXPORTED}"),
    "ncnn fp16": (b"\x47\x6b\x30\x01" + bytes(range(99)), f"ncnn weights.*{EXPORTED}"),
    "ncnn.BIN": (bytes(4) + b"\x11\x22\x33\x3c" * 9, f"ncnn or OpenVINO weights.*{EXPORTED}"),
    "tensorrt": (b"ftrt\0\0\0\0", f"TensorRT.*{EXPORTED}"),
    "png": (picture("PNG"), "PNG image.*name the network's checkpoint"),
    "jpeg": (picture("JPEG"), "JPEG image"),
    "webp": (picture("WEBP"), "an image"),
    "bmp": (picture("BMP"), "an image"),
    "mp4": (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
    "mkv": (b"\x1a\x45\xdf\xa3\x01\0", "a video"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "compressed archive.*unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "compressed archive.*unpack it"),
    "tar": (tar(), "tar archive.*unpack it"),
    "zip": (zipped("EDSR/model.pth", "EDSR/readme.txt"), "zip archive, no PyTorch checkpoint; unpack it"),
    "npy": (array(), "NumPy array.*convert"),
    "npz": (zipped("conv.weight.npy"), "npz.*convert"),
    "torchscript": (torchscript(), r"TorchScript.*torch.save\(model.state_dict"),
    "torch.export": (
        zipped("m/archive_format", "m/models/model.json", "m/data/weights/0"),
        f"torch.export.*{EXPORTED}",
    ),
    "pickle": (b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94.", r"torch.save did not write.*torch.save\(model.state_dict"),
    "text": (b"hello\n", "text, no PyTorch checkpoint"),
    "noise": (bytes(range(1, 200)), "no PyTorch checkpoint"),
    "cut zip": (checkpoint()[:500], "truncated or damaged; download it again"),
    "empty": (b"", "empty; download or copy it again"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("suffix", ["", ".pth", ".safetensors"])
def test_what_is_no_checkpoint_says_what_it_is_and_what_to_do(tmp_path: Path, name: str, suffix: str) -> None:
    content, message = OTHERS[name]
    path = tmp_path / (name if "." in name else f"{name}{suffix}")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"(?s)^{path} (is|has).*{message}") as caught:
        kind_of(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".PTH", ".SAFETENSORS", ".safetensors", ".bin", ""])
@pytest.mark.parametrize(
    "content, kind",
    [
        (checkpoint(), Kind.TORCH_ZIP),
        (checkpoint(_use_new_zipfile_serialization=False), Kind.TORCH_LEGACY),
        (save(STATE), Kind.SAFETENSORS),
    ],
)
def test_checkpoints_are_read_under_any_name(tmp_path: Path, suffix: str, content: bytes, kind: Kind) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    assert kind_of(path) is kind
    state = read_state(path)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path, message in (
        (tmp_path / "pipe.pth", "is a pipe, socket or device"),
        (Path("/dev/zero"), "is a pipe, socket or device"),
        (tmp_path, "is a folder; name the checkpoint"),
        (tmp_path / "missing.pth", "does not exist"),
        (tmp_path / "null\0.pth", "cannot read"),
        (tmp_path / ("long" * 99), "cannot read"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_state(path)
