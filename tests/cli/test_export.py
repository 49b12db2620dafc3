from collections.abc import Callable
from pathlib import Path

import pytest

from dfsq.errors import DfsqError


def test_one_command_from_checkpoint_to_engine(dfsq: Callable) -> None:
    pytest.importorskip("onnxscript", reason="pip install 'dfsq[onnx]'")
    pytest.importorskip("onnxruntime", reason="pip install 'dfsq[onnx]'")
    run = dfsq("export", "model.pth")
    assert run.code == 0, run.err
    assert run.out.startswith("Wrote model.onnx, ")
    assert "onnxruntime within " in run.out
    assert " of torch on 4 pictures" in run.out


def test_a_library_that_is_not_installed(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> None:
        raise DfsqError(f"{module} is not installed; pip install 'dfsq[{extra}]'")

    monkeypatch.setattr("dfsq.extras.require", missing)
    run = dfsq("export", "model.pth", "-o", "a.xml")
    assert (run.code, run.err) == (1, "dfsq: onnx is not installed; pip install 'dfsq[onnx]'\n")
    assert not Path("a.xml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "a.tflite"), "choose a name that ends in .onnx or .xml"),
        (("-o", "missing/a.onnx"), "the folder missing does not exist"),
        (("--size", "32"), "'32' is not of the form HxW, for example 270x480"),
        (("--target", "tpu"), "'tpu' is not one of 'openvino', 'onnxruntime'"),
    ],
)
def test_bad_requests(dfsq: Callable, options: tuple[str, ...], message: str) -> None:
    run = dfsq("export", "model.pth", *options)
    assert run.code in (1, 2)
    assert message in run.err
    assert run.err.count("\n") == 1
