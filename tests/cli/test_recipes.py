from collections.abc import Callable
from pathlib import Path


def test_a_shown_recipe_can_be_changed_and_used(dfsq: Callable) -> None:
    assert {"accurate", "fast", "paper"} <= {line.split()[0] for line in dfsq("recipes", "list").out.splitlines()}
    text = dfsq("recipes", "show", "fast").out
    Path("mine.yaml").write_text(text.replace("name: fast", "name: mine").replace("patches: 32", "patches: 2"))
    run = dfsq("quantize", "model.pth", "--recipe", "mine.yaml", "--w-bits", "3", "--no-eval")
    assert run.code == 0
    assert "mine: exact selection, subset weights" in run.out
    assert "4 at W3A4" in run.out


def test_an_unknown_recipe(dfsq: Callable) -> None:
    run = dfsq("recipes", "show", "best")
    assert run.code == 2
    assert run.err.startswith("dfsq: unknown recipe 'best'; known: accurate, fast, ")
