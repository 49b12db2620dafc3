"""``dfsq quantize --max-drop``: what a user sees of it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from dfsq.artifact import read_header

ROUGH = ("--bits", "2", "--words", "2", "--scope", "all", "--outside-bits", "2", "--block", "none")
QUICK = ("quantize", "model.pth", "--patches", "4", "--patch-size", "64", "--calib", "photos", *ROUGH)


def test_what_was_changed_is_told_everywhere(dfsq: Callable) -> None:
    names = ("r.json", "r.html", "r.md")
    reports = [option for name in names for option in ("--report", name)]
    run = dfsq(*QUICK, "--max-drop", "3.5", "--data", "benchmark", "--set", "Set5", *reports)
    assert run.code == 0
    assert "max-drop passed: model-w2a2-drop3.5.safetensors on 2 images set aside" in run.err
    header = read_header(Path("model-w2a2-drop3.5.safetensors"))
    raised = header["calibration"]["raised"]
    assert raised
    for name, layer in header["layers"].items():
        bits = f"W{layer['w_bits']}A{layer['a_bits']}"
        assert bits == raised.get(name, "W2A2")
    before, after = header["calibration"]["drop_before"], header["calibration"]["drop"]
    assert before > 3.5 >= after
    for text in (run.out, Path("r.html").read_text(), Path("r.md").read_text()):
        assert f"{before:.3f} dB by the recipe alone, {after:.3f} dB as written, at most 3.5 asked for" in text
        assert all(name in text for name in raised)
        assert "patches from one half of each" in text
    document = json.loads(Path("r.json").read_text())
    (gate,) = document["gates"]
    assert (gate["gate"], gate["value"], gate["limit"], gate["passed"]) == ("max-drop", after, 3.5, True)
    assert document["quantization"]["calibration"]["raised"] == raised
    assert 2 < document["models"][1]["w_bits"] <= 4
    inspected = dfsq("inspect", "model-w2a2-drop3.5.safetensors").out
    assert re.search(r"max_drop +│ 3.5", inspected)


def test_a_target_out_of_reach_ends_with_3_and_the_best_file(dfsq: Callable) -> None:
    run = dfsq(*QUICK, "--max-drop", "0.001", "--no-eval", "-o", "best.safetensors", "--quiet")
    assert (run.code, run.err.count("\n")) == (3, 1)
    assert "max-drop failed by" in run.err
    assert "best.safetensors is the best that was found" in run.err
    layers = read_header(Path("best.safetensors"))["layers"].values()
    assert {(layer["w_bits"], layer["a_bits"]) for layer in layers} == {(4, 4)}


def test_lr_images_are_shrunk_once_more_and_that_is_said(dfsq: Callable) -> None:
    run = dfsq(*QUICK, "--max-drop", "100", "--no-eval", "--calib-is-lr")
    assert run.code == 0
    assert "calibration images are LR: those set aside serve as HR, shrunk once more" in run.err
    assert "nothing had to be raised" in run.out


def test_contradictions_are_one_line(dfsq: Callable) -> None:
    run = dfsq(*QUICK, "--max-drop", "0.1", "--avg-bits", "3")
    assert (run.code, run.err.count("\n")) == (2, 1)
    assert "--max-drop" in run.err
    assert "--avg-bits" in run.err
