"""What needs no torch does not import it: it takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from calibration.recipes.files import shipped
from cli.main import group

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "scipy", "sklearn")
SCRIPT = f"""
import sys
from cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(end.code or 0, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def imported(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stderr.splitlines()[-1]


def commands(command: click.Command = group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = [each for name, one in getattr(command, "commands", {}).items() for each in commands(one, (*path, name))]
    return [path, *inner]


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    assert imported(*path, "--help") == "0 []"


@pytest.mark.parametrize("arguments", [("networks",), ("recipes",), ("recipes", "list"), ("--version",)], ids=" ".join)
def test_lists(arguments: tuple[str, ...]) -> None:
    assert imported(*arguments) == "0 []"


@pytest.mark.parametrize("name", shipped())
def test_recipes(name: str) -> None:
    assert imported("recipes", "show", name) == "0 []"


def test_artifacts_and_data(dfsq: Callable) -> None:
    dfsq("quantize", "model.pth", "-o", "q.safetensors", "--recipe", "fast", "--patches", "1", "--no-eval")
    assert imported("inspect", "q.safetensors") == "0 []"
    assert imported("inspect", "q.safetensors", "--json") == "0 []"
    assert imported("data", "benchmark") == "0 []"
    assert imported("data", "benchmark", "--json") == "0 []"


def test_what_is_asserted_above_can_fail() -> None:
    assert imported("inspect", "edsr-baseline-x2") == "0 ['torch']"
