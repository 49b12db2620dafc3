"""What a shell proposes at the press of Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from calibration.recipes.files import shipped
from calibration.recipes.values import SELECTORS, WEIGHTS
from cli.main import group
from dfsq import load
from dfsq.networks import architectures
from dfsq.networks.scope import quantizable_layers

ROOT = Path(__file__).parents[2]


def proposed(*words: str) -> list[str]:
    """For the last of ``words``; "*" stands for files."""
    items = ShellComplete(group, {}, "dfsq", "_DFSQ_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return ["*" if item.type == "file" else item.value for item in items]


@pytest.mark.parametrize("words", [("quantize", "--recipe"), ("compare", "--recipes"), ("recipes", "show")], ids=str)
def test_recipes(words: tuple[str, ...]) -> None:
    assert proposed(*words, "") == ["*", *shipped()]
    assert proposed(*words, "AC") == ["*", "accurate"]


def test_several_recipes() -> None:
    assert proposed("compare", "--recipes", "paper,F") == ["*", "paper,fast"]
    assert proposed("compare", "--recipes", "fast,f") == ["*"]


def with_option(name: str) -> list[str]:
    return [key for key, each in group.commands.items() if any(name in one.opts for one in each.params)]


@pytest.mark.parametrize("command", with_option("--arch"))
def test_networks(command: str) -> None:
    assert proposed(command, "--arch", "") == ["*", *architectures()]
    assert proposed(command, "--arch", "sr") == ["*", "srcnn", "srresnet"]


@pytest.mark.parametrize("command", with_option("--set"))
def test_sets(dfsq: Callable, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    assert proposed(command, "--data", "benchmark", "--set", "") == ["Set14", "Set5"]
    assert proposed(command, "--data", "benchmark", "--set", "set5,") == ["set5,Set14"]
    assert proposed(command, "--set", "") == []
    assert proposed(command, "--data", "nowhere", "--set", "") == []
    monkeypatch.setenv("DFSQ_DATA", "benchmark")
    assert proposed(command, "model.pth", "--set", "set1") == ["Set14"]


def test_limits_of_sets(dfsq: Callable) -> None:
    assert proposed("eval", "model.pth", "--data", "benchmark", "--min-psnr", "s") == ["Set14=", "Set5="]


@pytest.mark.parametrize("command", with_option("--body"))
def test_layers_of_a_checkpoint(dfsq: Callable, command: str) -> None:
    names = list(quantizable_layers(load("model.pth").net))
    assert "body.1.body.2" in names
    assert proposed(command, "model.pth", "--body", "") == names
    assert proposed(command, "model.pth", "--body", "tail") == [name for name in names if name.startswith("tail")]
    assert proposed(command, "nowhere.pth", "--body", "") == []


def test_layers_with_bits(dfsq: Callable) -> None:
    assert proposed("quantize", "model.pth", "--layer-bits", "body.0.body.0") == ["body.0.body.0="]
    assert proposed("quantize", "--skip", "body.15.body") == ["body.15.body.0", "body.15.body.2"]  # the embedded one's


def test_code_of_ones_own_is_not_run(dfsq: Callable) -> None:
    Path("mine.py").write_text("open('executed', 'w')\n")
    assert proposed("quantize", "model.pth", "--arch", "mine.py:Net", "--skip", "") == []
    assert not Path("executed").exists()


def test_values_that_are_known(dfsq: Callable) -> None:
    assert proposed("quantize", "--selector", "") == [*SELECTORS]
    assert proposed("quantize", "--weights", "m") == ["minmax", "mse"]
    assert set(WEIGHTS) == set(proposed("quantize", "--weights", ""))


@pytest.mark.parametrize(
    "command",
    [
        key
        for key, each in group.commands.items()
        if key in ("quantize", "compare", "eval", "upscale", "export", "inspect")
    ],
)
def test_models_are_files_and_embedded_checkpoints(dfsq: Callable, command: str) -> None:
    assert proposed(command, "") == proposed(command, "mod") == proposed(command, "x") == ["*"]
    assert proposed(command, "ed") == ["*", "edsr-baseline-x2"]
    Path("edges.pth").touch()
    assert proposed(command, "ed") == ["*"]


def test_commands_and_options() -> None:
    assert proposed("da") == ["data"]
    assert "--skip-existing" in proposed("upscale", "--skip")


def words(shell: str, *typed: str) -> list[str]:
    """What the program prints for a shell that asks, and whether that took torch."""
    script = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    asked = {"_DFSQ_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1)}
    if shell == "fish":
        asked["COMP_CWORD"] = typed[-1]
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **asked, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [*run.stdout.splitlines(), run.stderr.strip()]


def test_what_needs_no_torch_takes_none(dfsq: Callable) -> None:
    dfsq("quantize", "model.pth", "-o", "q.safetensors", "--recipe", "fast", "--patches", "1", "--no-eval")
    assert words("bash", "dfsq", "inspect", "q.safetensors", "--layer", "body.1") == [
        "plain,body.1.body.0",
        "plain,body.1.body.2",
        "False",
    ]
    assert words("bash", "dfsq", "quantize", "--recipe", "pa") == ["file,", "plain,paper", "False"]
    fish = words("fish", "dfsq", "quantize", "--arch", "ed")[1]  # whose separators differ between versions of click
    assert "edsr" in fish and "EDSR (Lim et al. 2017)" in fish
    assert words("zsh", "dfsq", "eval", "m", "--data", "benchmark", "--set", "Set1")[:2] == ["plain", "Set14"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell: str, tmp_path: Path) -> None:
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("there is no bash")
    run = subprocess.run(
        [sys.executable, "-m", "dfsq"],
        env={**os.environ, "_DFSQ_COMPLETE": f"{shell}_source", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_dfsq_completion" in run.stdout
    if shutil.which(shell):
        (tmp_path / "script").write_text(run.stdout)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "dfsq"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dfsq "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(_DFSQ_COMPLETE=bash_source dfsq)"
COMP_WORDS=(dfsq recipes show acc) COMP_CWORD=3
_dfsq_completion dfsq
printf '%s\\n' "${COMPREPLY[@]}"
"""
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines()[0] == "accurate", run.stderr


def test_nothing_is_proposed_where_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("unreadable")

    monkeypatch.setattr("calibration.recipes.files.shipped", fail)
    assert proposed("quantize", "--recipe", "") == ["*"]


def test_every_value_that_only_dfsq_knows_is_proposed() -> None:
    """Options for names of recipes, networks, sets and layers, in whatever command."""
    named = {"--recipe", "--recipes", "--arch", "--set", "--layer", "--skip", "--layer-bits", "--body", "--min-psnr"}
    options = [each for command in group.commands.values() for each in command.params if named & {*each.opts}]
    assert len(options) >= 15
    for each in options:
        assert isinstance(each, click.Option)
        assert each._custom_shell_complete is not None, each.opts
