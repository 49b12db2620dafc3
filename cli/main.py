"""The ``dfsq`` command: its subcommands, and how every failure reaches the terminal."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from cli.compare import compare
from cli.demo import demo
from cli.evaluate import evaluate
from cli.flags import with_flags
from cli.inspect import inspect
from cli.networks import networks
from cli.quantize import quantize
from cli.recipes import recipes
from cli.upscale import upscale
from dfsq import distributed
from dfsq.errors import DfsqError
from dfsq.version import __version__

EXIT_CODES = "Exit codes: 0 success, 1 run failed, 2 usage error, 3 gate failed, 130 interrupted."


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="dfsq")
def group() -> None:
    """Quantize pretrained super-resolution networks to 8…2 bits, and measure what that costs."""


for command in (quantize, evaluate, compare, upscale, inspect, networks, recipes, demo):
    group.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. A failure is one line on stderr; ``--debug`` shows its traceback.

    Of several processes that ``torchrun`` has started, the first prints, and whichever fails first tells why.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if distributed.launched_rank() > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    # Before torch is imported: threads that wait by spinning slow a busy machine down several times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = group.main(arguments, prog_name="dfsq", standalone_mode=False) or 0
        distributed.finish()
        sys.exit(code)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "dfsq"
        _fail(f"{error.format_message().rstrip('.')}; see '{command} --help'", error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; no file was left unfinished", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone, as in `| head`
        sys.exit(0)
    except DfsqError as error:
        _raise_in_debug(arguments)
        _fail(str(error), error.exit_code)
    except MemoryError:
        _raise_in_debug(arguments)
        _fail("out of memory; use fewer or smaller images", 1)
    except Exception as error:
        _raise_in_debug(arguments)
        reason = " ".join(str(error).split())[:300]
        _fail(f"unexpected {type(error).__name__}: {reason}; run again with --debug to see where", 1)


def _raise_in_debug(arguments: list[str]) -> None:
    if "--debug" in arguments:
        raise


def _fail(message: str, code: int) -> NoReturn:
    if distributed.is_first_to_fail():
        click.echo(f"dfsq: {' '.join(with_flags(message, group).split())}", err=True)
    sys.exit(code)
