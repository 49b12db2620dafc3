import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from cli.main import group
from dfsq.version import __version__


def options() -> Iterator[tuple[str, click.Option]]:
    for name, command in group.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield name, parameter


@pytest.mark.parametrize(
    "command, option", [pytest.param(*each, id=f"{each[0]}{each[1].opts[0]}") for each in options()]
)
def test_every_option_has_help_with_its_default(command: str, option: click.Option) -> None:
    record = option.get_help_record(click.Context(group.commands[command]))
    assert record is not None
    assert "default: " in record[1] or option.required


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


def test_module_can_be_run() -> None:
    run = subprocess.run([sys.executable, "-m", "dfsq", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"dfsq, version {__version__}\n"


def test_networks_lists_what_is_built_in(dfsq: Callable) -> None:
    run = dfsq("networks")
    assert run.code == 0
    for name in ("edsr", "srresnet", "msrresnet", "rdn", "rrdb", "imdn", "rfdn", "carn", "pan", "rlfn"):
        assert f"│ {name} " in run.out
