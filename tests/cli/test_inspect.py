import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import dfsq as api
from cli import console
from dfsq import save
from dfsq.artifact import read_header
from dfsq.model import Quantization, SRModel
from dfsq.nn import SubsetQuantizer


@pytest.fixture
def artifact(dfsq: Callable) -> str:
    assert dfsq("quantize", "model.pth", "-o", "q.safetensors", "--bits", "2", "--patches", "1", "--no-eval").code == 0
    return "q.safetensors"


def test_a_checkpoint(dfsq: Callable) -> None:
    run = dfsq("inspect", "model.pth")
    assert run.code == 0
    for expected in (
        "edsr (parameter names)",
        "×2 (shapes)",
        "blocks 2, features 8",
        "0–255",
        "body.1.body.2",
        "8×8×3×3",
    ):
        assert expected in run.out


def test_an_artifact(dfsq: Callable, artifact: str) -> None:
    run = dfsq("inspect", artifact)
    assert run.code == 0
    for expected in (
        "dfsq artifact",
        "│ w_bits       │ 2 ",
        "exact",
        "model.pth, sha256 ",
        "2 subset",
        "2 signed",
        "2 non-negative",
    ):
        assert expected in run.out


def test_an_artifact_of_0_1_whose_recipe_names_no_method(dfsq: Callable, artifact: str) -> None:
    model = api.load(artifact)
    recipe = {"name": "mine", "w_bits": 2, "a_bits": 2, "avg_bits": None, "weights": "subset", "compensation": True}
    more = {"feedback": True, "granularity": "channel", "selector": "exact", "restarts": 5, "words": 4}
    model.quantization = Quantization({**recipe, **more}, {})
    api.save(model, Path("old.safetensors"))
    run = dfsq("inspect", "old.safetensors")
    assert run.code == 0
    assert all(f"│ {key} " in run.out for key in (*recipe, *more))
    scores = json.loads(dfsq("eval", "old.safetensors", "--data", "benchmark", "--set", "Set5", "--json").out)
    assert (scores["models"][0]["w_bits"], scores["models"][0]["a_bits"]) == (2, 2)


def test_points_of_a_layer(dfsq: Callable, artifact: str) -> None:
    run = dfsq("inspect", artifact, "--layer", "body.0.body.2")
    rows = [line for line in run.out.splitlines() if line.startswith("│")]
    assert len(rows) == 8
    points = [float(value) for value in rows[0].split("│")[2].split()]
    assert len(points) == 4
    assert points == sorted(points)
    assert all(-1 <= point <= 1 for point in points)


@pytest.mark.parametrize("shape", [(2, 8), (2,)])
def test_points_in_ranges_that_are_fixed(dfsq: Callable, artifact: str, shape: tuple[int, ...]) -> None:
    model = api.load(artifact)
    layer = model.net.get_submodule("body.0.body.2")
    rows = 8 if len(shape) == 2 else 1
    points = torch.tensor([-1024, 0, 256, 512]).repeat(rows, 1)  # -1, 0, 1/4, 1/2 of the spread
    fixed = torch.stack([torch.full(shape[1:], 10.0), torch.full(shape[1:], 4.0)])
    old = layer.input_quantizer
    layer.input_quantizer = SubsetQuantizer(points, True, 2, old.universal, old.channel_axis, fixed=fixed)
    save(model, "fixed.safetensors")
    out = dfsq("inspect", "fixed.safetensors", "--layer", "body.0.body.2").out
    assert "the same for every image" in out and "spread" not in out
    lines = [line for line in out.splitlines() if line.startswith("│")]
    assert len(lines) == rows
    assert [float(value) for value in lines[0].split("│")[2].split()] == [6, 10, 11, 12]
    assert lines[0].split("│")[1].strip() == ("0" if rows == 8 else "all")


def test_points_of_blocks_say_so(dfsq: Callable, artifact: str) -> None:
    model = api.load(artifact)
    model.net.get_submodule("body.0.body.2").input_quantizer.block = 24
    save(model, "blocks.safetensors")
    out = dfsq("inspect", "blocks.safetensors", "--layer", "body.0.body.2").out
    assert "in units of each channel's spread in blocks of 24×24" in " ".join(out.split())


def test_json(dfsq: Callable, artifact: str) -> None:
    document = json.loads(dfsq("inspect", artifact, "--json").out)
    assert document["architecture"] == "edsr"
    assert document["layers"]["body.0.body.0"]["w_bits"] == 2


def rows_of(out: str) -> dict[str, str]:
    return {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}


def test_json_of_an_artifact_is_its_whole_header(dfsq: Callable, artifact: str) -> None:
    quick, whole = (json.loads(dfsq("inspect", artifact, "--json", *more).out) for more in ([], ["--run"]))
    header = read_header(artifact)
    assert {key: quick[key] for key in header} == header
    assert (quick["schema"], quick["kind"], quick["file"]) == ("dfsq-inspect/1", "artifact", artifact)
    assert quick["bytes"] == Path(artifact).stat().st_size
    assert whole.pop("multiply_adds")["inside"] > 0
    assert whole == quick


def test_json_of_a_checkpoint(dfsq: Callable) -> None:
    document = json.loads(dfsq("inspect", "model.pth", "--json").out)
    assert (document["schema"], document["kind"], document["file"]) == ("dfsq-inspect/1", "checkpoint", "model.pth")
    state = torch.load("model.pth", weights_only=True)["params"]
    assert document["parameters"] == sum(each.numel() for each in state.values())
    assert document["source"]["sha256"] == hashlib.sha256(Path("model.pth").read_bytes()).hexdigest()
    assert {name: tuple(each["shape"]) for name, each in document["layers"].items()} == {
        name.removesuffix(".weight"): tuple(each.shape) for name, each in state.items() if name.endswith(".weight")
    }
    assert set(document["body"]) <= document["layers"].keys()


@pytest.mark.parametrize("more", [[], ["--run"], ["--layer", "body.0.body.2"], ["--layer", "body.0.output"]], ids=str)
@pytest.mark.parametrize("file", ["model.pth", "artifact", "bounded"])
def test_it_fits_60_columns(
    dfsq: Callable,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    more: list[str],
) -> None:
    path = file if file == "model.pth" else request.getfixturevalue(file)
    monkeypatch.setattr(console, "_WIDTH_WITHOUT_TERMINAL", 60)
    run = dfsq("inspect", path, *more)
    if run.code == 2:
        assert "no quantized layer" in run.err
        return
    lines = run.out.splitlines()
    assert lines
    assert max(map(len, lines)) <= 60
    if not more and file != "bounded":
        assert any(line.startswith("│ body.1.body.2 ") for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_it_fits_a_terminal_of_60_columns(dfsq: Callable, artifact: str) -> None:
    import fcntl
    import pty
    import termios

    inner, outer = pty.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 60, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-m", "dfsq", "inspect", artifact],
        env={**environment, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        stdout=outer,
        stderr=subprocess.DEVNULL,
    ):
        os.close(outer)
        out = b""
        with suppress(OSError):  # how a pseudo-terminal ends
            while piece := os.read(inner, 65536):
                out += piece
    os.close(inner)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.decode()).splitlines()
    assert max(map(len, lines)) == 60
    assert any("dfsq artifact" in line for line in lines)


@pytest.fixture
def bounded(dfsq: Callable, plausible_model: SRModel, with_bounds: Callable[[SRModel, bool], SRModel]) -> str:
    save(with_bounds(plausible_model, True), "b.safetensors")
    return "b.safetensors"


def test_bounds_and_gates(dfsq: Callable, bounded: str) -> None:
    rows = rows_of(dfsq("inspect", bounded).out)
    assert "2 non-negative" in rows["body.0.body.2"] and "0 to 15" in rows["body.0.body.2"]
    assert "full" not in rows["body.0.body.0"]  # whether it is behind a place only running the network tells
    out = dfsq("inspect", bounded, "--run").out
    rows = rows_of(out)
    assert "2 non-negative" in rows["body.0.body.2"]
    assert "0 to 15" in rows["body.0.body.2"] and "dynamic" in rows["body.0.body.2"]
    assert "2 bounds" in rows["body.0.body.0"] and "full" in rows["body.0.body.0"]
    assert "2 signed" in rows["body.0.skip"] and "-9 to 20" in rows["body.0.skip"] and "dynamic" in rows["body.0.skip"]
    assert "-10 to 20" in rows["body.0.output"] and "dynamic" not in rows["body.0.output"]


def test_bounds_as_json_and_levels_of_a_place(dfsq: Callable, bounded: str) -> None:
    document = json.loads(dfsq("inspect", bounded, "--json").out)
    assert document["bounds"]["body.0.output"] == {"lower": -10.0, "upper": 20.0, "gate": False}
    assert document["bounds"]["body.0.body.2"] == {"lower": 0.0, "upper": 15.0, "gate": True}
    out = dfsq("inspect", bounded, "--layer", "body.0.output").out
    assert out == "body.0.output: levels of the whole tensor: -10 +0 +10 +20\n"
    assert "gate" in dfsq("inspect", bounded, "--layer", "body.0.body.2").out


def test_what_has_no_bounds_says_nothing_of_them(dfsq: Callable, artifact: str) -> None:
    assert "bounds" not in json.loads(dfsq("inspect", artifact, "--json").out)
    out = dfsq("inspect", artifact).out
    assert "bounds" not in out and "Quantized places" not in out
