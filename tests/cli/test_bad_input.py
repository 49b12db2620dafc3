"""Whatever goes wrong: one line on stderr that names the remedy, the documented exit code, no traceback, no output."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import dfsq as api


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch executed",)


def truncate(path: str, share: float = 0.5) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * share)])


def checkpoints() -> dict[str, tuple[Callable[[], object], str]]:
    """File name, what puts it there, and what the message must say."""

    def nan() -> None:
        state = torch.load("model.pth", weights_only=True)["params"]
        state["head.0.bias"][0] = torch.nan
        torch.save(state, "nan.pth")

    def incomplete() -> None:
        state = torch.load("model.pth", weights_only=True)["params"]
        del state["body.1.body.0.weight"]
        torch.save({**state, "extra.weight": torch.zeros(1)}, "incomplete.pth")

    def copy(name: str) -> None:
        Path(name).write_bytes(Path("model.pth").read_bytes())
        truncate(name)

    return {
        "missing.pth": (lambda: None, "missing.pth does not exist"),
        "empty.pth": (lambda: Path("empty.pth").touch(), "empty.pth is empty"),
        "text.pth": (lambda: Path("text.pth").write_text("hello\n"), "no PyTorch checkpoint"),
        "text.safetensors": (lambda: Path("text.safetensors").write_text("hello\n" * 9), "no safetensors file"),
        "cut.pth": (lambda: copy("cut.pth"), "truncated"),
        "code.pth": (lambda: torch.save({"a": Malicious()}, "code.pth"), "could execute code"),
        "code.pkl": (lambda: Path("code.pkl").write_bytes(pickle.dumps(Malicious())), "could execute code"),
        "number.pth": (lambda: torch.save(3, "number.pth"), "not a state dict"),
        "other.pth": (
            lambda: torch.save({"fc.weight": torch.zeros(1)}, "other.pth"),
            "unknown architecture; tried carn",
        ),
        "nan.pth": (nan, "head.0.bias holds NaN"),
        "incomplete.pth": (incomplete, "missing: body.1.body.0.weight; unexpected: extra.weight"),
        "photos": (lambda: None, "photos is a folder"),
    }


def assert_one_line(err: str) -> None:
    assert err.startswith("dfsq: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", checkpoints())
@pytest.mark.parametrize("command", ["quantize", "eval", "inspect"])
def test_checkpoints(dfsq: Callable, command: str, name: str) -> None:
    put, message = checkpoints()[name]
    put()
    before = sorted(path.name for path in Path().iterdir())
    run = dfsq(command, name)
    assert run.code == 1
    assert_one_line(run.err)
    assert message in run.err
    assert sorted(path.name for path in Path().iterdir()) == before


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ("quantize model.pth --bits 9", 2, "choose 2 to 8 bits"),
        ("quantize model.pth --bits 0", 2, "choose 2 to 8 bits"),
        ("quantize model.pth --bits four", 2, "no whole number; choose 2 to 8 bits; see 'dfsq quantize --help'"),
        ("quantize model.pth --recipe best", 2, "known: accurate, ddtb, fast, "),
        ("quantize model.pth --selector best", 2, "known: exact, kmeans, exhaustive"),
        (
            "quantize model.pth --selector kmeans --universal even",
            2,
            "--universal means nothing without --selector exact",
        ),
        ("quantize model.pth --selector exhaustive", 2, "subsets per channel"),
        ("quantize model.pth --weights best", 2, "known: minmax, mse, subset, symmetric"),
        ("quantize model.pth --target openvino", 2, "--target means nothing to the method sequential, only to"),
        ("quantize model.pth --recipe minmax --headroom 2", 2, "--headroom means nothing to the method fixed-ranges"),
        ("quantize model.pth --recipe minmax --words 3", 2, "--words means nothing without --selector exact or"),
        ("quantize model.pth --recipe int8 --selector exact", 2, "--selector means nothing to the method integers"),
        ("quantize model.pth --recipe int8 --feedback", 2, "--feedback means nothing to the method integers"),
        ("quantize model.pth --recipe mse --avg-bits 4", 2, "--avg-bits means nothing to the method fixed-ranges"),
        ("quantize model.pth --recipe int8 --no-compensation --target onnxruntime", 2, "which needs --compensation"),
        ("quantize model.pth --headroom wide", 2, "neither a number nor 'none'"),
        ("quantize model.pth --skip conv*", 2, "matches no layer"),
        ("quantize model.pth --layer-bits conv*=3", 2, "matches no layer"),
        ("quantize model.pth --layer-bits body", 2, "GLOB=N"),
        ("quantize model.pth --layer-bits body*=11", 2, "choose 2 to 8 bits"),
        ("quantize model.pth --calib nowhere", 2, "does not exist"),
        ("quantize model.pth --calib empty", 1, "no images in empty"),
        ("quantize model.pth --calib model.pth", 1, "none of the 1 calibration images is readable"),
        ("quantize model.pth --patch-size 1000", 1, "use larger images or a smaller --patch-size"),
        ("quantize model.pth --patch-size 1", 2, "below the scale"),
        ("quantize model.pth --patches 0", 2, "choose 1 to 20000"),
        ("quantize model.pth --arch imdn", 1, "this is no IMDN"),
        ("quantize model.pth --arch best", 2, "known: carn"),
        ("quantize model.pth --scale 3", 2, "upscales by 2"),
        ("quantize model.pth --device quantum", 2, "use --device cpu"),
        ("quantize model.pth --set Set5", 2, "--set needs --data"),
        ("quantize model.pth --set Set6 --data benchmark", 2, "it has Set14, Set5"),
        ("quantize model.pth --no-eval --report r.md", 2, "contradicts"),
        ("quantize model.pth --report r.pdf", 2, "choose .json, .csv, .md, .html"),
        ("quantize model.pth -o model.pth", 2, "is an input"),
        ("quantize model.pth --report a.json --report ./a.json", 2, "twice"),
        ("quantize model.pth -o a.onnx", 2, "name it like that"),
        ("quantize model.pth -o a", 2, "name it like that"),
        ("quantize model.pth -o nowhere/a.safetensors", 1, "create it first"),
        ("quantize model.pth -o photos", 1, "is a folder"),
        ("quantize model.pth --colour red", 2, "No such option"),
        ("quantise model.pth", 2, "No such command"),
        ("eval", 2, "Missing argument"),
        ("eval model.pth --data nowhere", 2, "is not a folder"),
        ("eval model.pth --data empty", 2, "no benchmark set in empty"),
        ("eval model.pth --set Set5", 2, "--set needs --data"),
        ("eval model.pth --lr photos", 2, "--lr needs --hr"),
        ("eval model.pth --hr photos --lr benchmark/Set14", 1, "at ×2 LR must be"),
        ("eval model.pth --hr empty", 1, "no images"),
        ("eval model.pth --hr photos --data benchmark", 2, "exclude each other"),
        ("eval model.pth --max-drop 1", 2, "needs two models"),
        ("eval model.pth --min-psnr 30", 2, "SET=DB"),
        ("eval model.pth --baseline nowhere.json", 2, "cannot read"),
        ("eval model.pth --baseline model.pth", 2, "no report"),
        ("eval model.pth model.pth", 2, "named twice"),
        ("eval model.pth --save-images model.pth", 1, "cannot create the folder"),
        ("inspect model.pth --layer body.0", 2, "this file has none"),
    ],
)
def test_requests(dfsq: Callable, arguments: str, code: int, message: str) -> None:
    Path("empty").mkdir()
    before = sorted(path.name for path in Path().iterdir())
    run = dfsq(*arguments.split(), "-q") if arguments.split()[0] in ("quantize", "eval") else dfsq(*arguments.split())
    assert run.code == code, run.err
    assert_one_line(run.err)
    assert message in run.err
    assert sorted(path.name for path in Path().iterdir()) == before


def test_damaged_artifacts(dfsq: Callable) -> None:
    assert dfsq("quantize", "model.pth", "-o", "a.safetensors", "--patches", "1", "--no-eval").code == 0
    content = bytearray(Path("a.safetensors").read_bytes())
    content[-9] ^= 4
    Path("flipped.safetensors").write_bytes(content)
    Path("cut.safetensors").write_bytes(content[:-50])
    for name, message in (("flipped", "do not match their checksum"), ("cut", "truncated or damaged")):
        run = dfsq("eval", f"{name}.safetensors")
        assert run.code == 1
        assert_one_line(run.err)
        assert message in run.err


def test_a_quantized_model_is_not_quantized_again(dfsq: Callable) -> None:
    assert dfsq("quantize", "model.pth", "-o", "a.safetensors", "--patches", "1", "--no-eval").code == 0
    run = dfsq("quantize", "a.safetensors", "-q")
    assert (run.code, "quantized already" in run.err) == (2, True)


def test_a_full_disk_leaves_the_old_file(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.safetensors").write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    run = dfsq("quantize", "model.pth", "-o", "a.safetensors", "--patches", "1", "--no-eval", "-q")
    assert run.code == 1
    assert_one_line(run.err)
    assert "No space left on device" in run.err
    assert Path("a.safetensors").read_bytes() == b"old"


def test_malicious_pickles_are_not_executed(dfsq: Callable) -> None:
    torch.save({"params": Malicious()}, "code.pth")
    assert dfsq("quantize", "code.pth").code == 1
    assert not Path("executed").exists()


def test_debug_shows_the_traceback(dfsq: Callable) -> None:
    with pytest.raises(api.errors.CheckpointError):
        from cli.main import main

        main(["inspect", "missing.pth", "--debug"])
