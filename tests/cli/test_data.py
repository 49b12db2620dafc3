import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def test_sets_are_listed(dfsq: Callable) -> None:
    run = dfsq("data", "benchmark")
    assert (run.code, run.err) == (0, "")
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in table(run.out)}
    assert rows == {"Set5": ["2", "–", "×2 ×3 ×4 ×8", "EDSR-PyTorch"], "Set14": ["2", "–", "×2 ×3 ×4 ×8", "plain"]}


def table(out: str) -> list[list[str]]:
    return [line.split("│") for line in out.splitlines() if line.startswith("│")]


def test_json(dfsq: Callable) -> None:
    document = json.loads(dfsq("data", "benchmark", "--json").out)
    assert (document["schema"], document["root"]) == ("dfsq-data/1", "benchmark")
    assert [each["name"] for each in document["sets"]] == ["Set14", "Set5"]
    at = document["sets"][1]["scales"]["2"]
    assert (at["images"], at["lr"]) == (2, None)
    assert os.path.samefile(at["hr"], "benchmark/Set5/HR")


def test_the_folder_of_the_environment(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFSQ_DATA", "benchmark")
    assert dfsq("data").out == dfsq("data", "benchmark").out


def test_problems_are_told_once_the_table_is(dfsq: Callable) -> None:
    for name in ("LR", "LR_blur"):
        (Path("benchmark/Set5") / name).mkdir()
        (Path("benchmark/Set5") / name / "img0.png").write_bytes(Path("benchmark/Set5/HR/img0.png").read_bytes())
    run = dfsq("data", "benchmark")
    assert run.code == 0
    assert "Set5 ×2: LR images for" in run.out


@pytest.mark.parametrize("root", ["nowhere", "photos/img0.png", "empty"])
def test_a_folder_without_sets(dfsq: Callable, root: str) -> None:
    Path("empty").mkdir()
    run = dfsq("data", root)
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert root in run.err


@pytest.mark.parametrize("command", [("eval", "model.pth"), ("compare", "model.pth", "--recipes", "fast")], ids=str)
def test_a_set_that_is_not_there(dfsq: Callable, command: tuple[str, ...]) -> None:
    run = dfsq(*command, "--data", "benchmark", "--set", "Set6")
    assert (run.code, run.err.count("\n")) == (2, 1)
    assert "no set 'Set6' in benchmark; it has Set14, Set5; `dfsq data benchmark` tells more" in run.err


@pytest.mark.parametrize("command", [("eval", "model.pth"), ("compare", "model.pth", "--recipes", "fast")], ids=str)
def test_what_is_scored_without_a_set_is_told_first(dfsq: Callable, command: tuple[str, ...]) -> None:
    more = ("--patches", "1") if command[0] == "compare" else ()
    run = dfsq(*command, "--data", "benchmark", *more)
    assert run.code == 0
    assert "no --set: all of benchmark are scored at ×2: Set14 (2 images), Set5 (2 images)\n" in run.err
    assert "no --set" not in dfsq("eval", "model.pth", "--data", "benchmark", "--set", "Set5").err
    assert "no --set" not in dfsq("eval", "model.pth", "--data", "benchmark", "--quiet").err
