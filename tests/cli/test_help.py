import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import click
import pytest

from cli.main import group
from dfsq.version import __version__

ROOT = Path(__file__).parents[2]


def commands(
    command: click.Command = group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group with the words that lead to it."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


COMMANDS = list(commands())
GROUPS = [path for path, command in COMMANDS if isinstance(command, click.Group)]
OPTIONS = [
    pytest.param(command, option, id=" ".join((*path, option.opts[0])))
    for path, command in COMMANDS
    for option in command.params
    if isinstance(option, click.Option) and not option.is_eager
]


@pytest.mark.parametrize("command, option", OPTIONS)
def test_every_option_has_help_with_its_default(command: click.Command, option: click.Option) -> None:
    record = option.get_help_record(click.Context(command))
    assert record is not None
    assert "default: " in record[1] or option.required
    assert "NaN" not in record[1] and "nan" not in record[1].split()


def test_the_output_of_quantize_is_named_by_its_bits() -> None:
    option = next(each for each in group.commands["quantize"].params if each.name == "output")
    assert "NAME-w4a4.safetensors" in (option.get_help_record(click.Context(group)) or ("", ""))[1]


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_alone_helps(dfsq: Callable, path: tuple[str, ...]) -> None:
    alone, asked = dfsq(*path), dfsq(*path, "--help")
    assert (alone.code, alone.err) == (0, "")
    assert alone.out == asked.out
    lines = [line.split() for line in alone.out.splitlines()]
    assert lines[0][:2] == ["Usage:", "dfsq"]
    inside = next(command for each, command in COMMANDS if each == path)
    assert {name for name in inside.commands} <= {line[0] for line in lines if line}


def test_help_does_not_import_torch() -> None:
    script = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "False False"
    assert "quantize" in run.stdout


def test_version(dfsq: Callable) -> None:
    assert dfsq("--version").out == f"dfsq, version {__version__}\n"


def test_the_working_folder_is_neither_executed_nor_in_the_way(tmp_path: Path) -> None:
    for name in ("cli/__init__", "calibration/__init__", "torch", "click", "yaml", "typing", "signal", "secrets"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("open('executed', 'w')\nraise RuntimeError\n")
    (tmp_path / "dfsq").mkdir()
    run = subprocess.run(
        [sys.executable, "-m", "dfsq", "recipes", "list"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "accurate" in run.stdout
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("missing", ["torch", "click"])
def test_a_library_that_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    (tmp_path / f"{missing}.py").write_text("raise ImportError('none here')\n")
    run = subprocess.run(
        [sys.executable, "-m", "dfsq", "inspect", "edsr-baseline-x2"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "dfsq: a library that dfsq needs cannot be imported (none here); install dfsq again\n"


@pytest.mark.parametrize("package", ["dfsq", "calibration", "cli"])
def test_types_of_every_package_are_told(package: str) -> None:
    assert (files(package) / "py.typed").is_file()


@pytest.mark.parametrize("arguments", ["", "--help", "-h"])
def test_help_is_what_no_command_gives(dfsq: Callable, arguments: str) -> None:
    run = dfsq(*arguments.split())
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("Usage: dfsq")


def test_module_can_be_run() -> None:
    run = subprocess.run([sys.executable, "-m", "dfsq", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"dfsq, version {__version__}\n"


def test_networks_lists_what_is_built_in(dfsq: Callable) -> None:
    run = dfsq("networks")
    assert run.code == 0
    for name in ("edsr", "srresnet", "msrresnet", "rdn", "rrdb", "imdn", "rfdn", "carn", "pan", "rlfn"):
        assert f"│ {name} " in run.out
