"""Engines at the command line: which runs what, what reports say of it, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfsq.engines import exported
from dfsq.engines.registry import GRAPH_ENGINES
from dfsq.extras import installed
from dfsq.images.files import read_image

NEEDED = [entry.library for entry in GRAPH_ENGINES.values()]
pytestmark = pytest.mark.skipif(not all(map(installed, NEEDED)), reason=f"{' or '.join(NEEDED)} is not installed")


@pytest.fixture
def ready(
    dfsq: Callable, plausible_graph: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Callable, list[object]]:
    """The command line in a folder with model.onnx too, and the models that it exports."""
    made: list[object] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(exported, "export", lambda model: made.append(model) or plausible_graph)
    Path("model.onnx").write_bytes(plausible_graph)
    return dfsq, made


def test_each_model_runs_in_its_engine(ready: tuple[Callable, list[object]]) -> None:
    dfsq, made = ready
    reports = [f"--report=r.{form}" for form in ("html", "csv", "md")]
    sets = ("--data", "benchmark", "--set", "Set5")
    run = dfsq("eval", "model.pth", "model.onnx", *sets, "--json", "--max-drop", "0.001", *reports)
    assert run.code == 0, run.err
    first, second = json.loads(run.out)["models"]
    assert (first["engine"]["engine"], second["engine"]["engine"]) == ("torch", "onnxruntime")
    assert second["engine"]["precision"] == "f32"
    assert second["engine"]["instructions"]
    assert "seconds_per_megapixel" not in first
    assert 0 < second["seconds_per_megapixel"] < 1000
    assert abs(second["sets"][0]["drop"]["psnr_y"]) < 0.001
    assert not made
    for form in ("html", "md"):
        text = Path(f"r.{form}").read_text(encoding="utf-8")
        assert f"Run by onnxruntime {second['engine']['version']}" in text
        assert "Run by torch" in text
    assert f"Time in onnxruntime {second['engine']['version']}" in Path("r.html").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(Path("r.csv").read_text())))
    assert [row["engine"] for row in rows] == ["torch"] * 2 + ["onnxruntime"] * 2
    everything = dfsq("eval", "model.pth", "model.onnx", *sets, "--engine", "openvino", "--min-psnr", "Set5=99")
    assert everything.code == 3
    assert re.search(r"Run by openvino \S+ \(f32, ", everything.out)  # on processors with bfloat16 too
    assert "Run by torch" not in everything.out
    assert "exporting the network for openvino" in everything.err
    assert len(made) == 1


@pytest.mark.parametrize("engine", GRAPH_ENGINES)
def test_upscale(engine: str, ready: tuple[Callable, list[object]]) -> None:
    dfsq, made = ready
    assert dfsq("upscale", "model.pth", "photos", "-o", "torch").code == 0
    ways = {
        "exported": ("model.pth",),
        "kept": ("model.pth", "-q"),
        "graph": ("model.onnx",),
        "tiles": ("model.onnx", "--tile", "100"),
    }
    for name, (model, *options) in ways.items():
        run = dfsq("upscale", model, "photos", "-o", name, "--engine", engine, "--precision", "f32", *options)
        assert run.code == 0, run.err
        assert ("exporting" in run.err) == (name == "exported")
        assert ("in windows of 100×100 pixels; windows overlap by" in run.err) == (name == "tiles")
        for path in Path("torch").iterdir():
            difference = read_image(Path(name) / path.name).astype(int) - read_image(path)
            assert np.abs(difference).max() <= 1
            assert (difference != 0).mean() < 0.001
    assert len(made) == 1


def test_compare_scores_in_the_engine(ready: tuple[Callable, list[object]]) -> None:
    dfsq, made = ready
    options = "--recipes minmax --bits 8 --patches 2 --engine onnxruntime --json --report r.html"
    run = dfsq("compare", "model.pth", *options.split())
    assert run.code == 0, run.err
    assert len(made) == 2  # at 8 bits the graph of the one still passes for the other's
    assert [each["engine"]["engine"] for each in json.loads(run.out)["models"]] == ["onnxruntime"] * 2
    page = Path("r.html").read_text(encoding="utf-8")
    assert all(f"Drop against {what}" in page for what in ("size", "time in the engine", "time to quantize"))
    assert page.count("<circle") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("eval model.onnx --device cuda", "--device is for --engine torch alone, not for model.onnx"),
        ("eval model.pth --engine openvino --compile", "--compile is for --engine torch alone, not for --engine open"),
        ("compare model.pth --engine openvino --compile", "--compile is for --engine torch alone"),
        ("upscale model.onnx photos -o out --scratch .", "--scratch is for --engine torch alone"),
        ("upscale model.pth photos -o out --overlap 8", "--overlap 8 is for windows"),
        ("upscale model.onnx photos -o out --engine torch", "choose --engine onnxruntime or openvino"),
        ("upscale model.onnx photos -o out --engine onnxruntime --precision bf16", "not in --precision bf16"),
        ("upscale model.onnx photos -o out --scale 3", "--scale 3, but this network upscales by 2"),
        ("eval model.onnx --engine tensorrt", "'tensorrt' is not one of"),
    ],
)
def test_refusals(arguments: str, message: str, ready: tuple[Callable, list[object]]) -> None:
    dfsq, made = ready
    run = dfsq(*arguments.split())
    assert (run.code, run.out) == (2, "")
    assert message in run.err
    assert len(run.err.splitlines()) == 1
    assert not made


def test_what_is_missing_is_one_line(ready: tuple[Callable, list[object]], monkeypatch: pytest.MonkeyPatch) -> None:
    dfsq, made = ready
    Path("damaged.onnx").write_bytes(Path("model.onnx").read_bytes()[:3000])
    run = dfsq("eval", "model.pth", "damaged.onnx")
    assert run.code == 1
    assert run.err.splitlines()[-1].startswith("dfsq: onnxruntime cannot read damaged.onnx: damaged")
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = dfsq("upscale", "model.pth", "photos", "-o", "out", "--engine", "openvino")
    assert (run.code, run.out, made) == (1, "", [])
    assert "pip install 'dfsq[openvino]'" in run.err
    assert len(run.err.splitlines()) == 1
