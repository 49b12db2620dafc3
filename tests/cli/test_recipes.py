from collections.abc import Callable
from pathlib import Path


def test_a_shown_recipe_can_be_changed_and_used(dfsq: Callable) -> None:
    assert {"accurate", "fast", "paper"} <= {line.split()[0] for line in dfsq("recipes", "list").out.splitlines()}
    text = dfsq("recipes", "show", "fast").out
    Path("mine.yaml").write_text(text.replace("patches: null", "patches: 2"))
    run = dfsq("quantize", "model.pth", "--recipe", "mine.yaml", "--w-bits", "3", "--no-eval")
    assert run.code == 0
    assert "mine: exact selection, subset weights" in run.out
    assert "4 at W3A4" in run.out


def test_a_file_of_0_1_is_shown_as_it_is_written_now(dfsq: Callable) -> None:
    Path("old.yaml").write_text("# Mine.\nw_bits: 3\nselector: kmeans\ngranularity: tensor\nheadroom: 2\n")
    lines = dfsq("recipes", "show", "old.yaml").out.splitlines()
    assert lines[0] == "# Mine."
    stated = [line.partition("#")[0].strip() for line in lines[1:]]
    assert stated[:2] == ["method: fixed-ranges", "w_bits: 3"]
    assert {"selector: kmeans", "restarts: 5", "weights: subset", "outside_bits: 8"} <= set(stated)
    assert not [line for line in stated if line.startswith(("headroom", "granularity"))]


def test_without_a_command_it_helps(dfsq: Callable) -> None:
    run = dfsq("recipes")
    assert run.code == 0
    assert "list" in run.out
    assert "show" in run.out
    assert run.err == ""


def test_an_unknown_recipe(dfsq: Callable) -> None:
    run = dfsq("recipes", "show", "best")
    assert run.code == 2
    assert run.err.startswith("dfsq: unknown recipe 'best'; known: accurate, ddtb, fast, ")
