"""The ``dfsq`` command: its subcommands, and how every failure reaches the terminal."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from cli.analyze import analyze
from cli.compare import compare
from cli.console import tell
from cli.data import data
from cli.demo import demo
from cli.evaluate import evaluate
from cli.export import export
from cli.flags import with_flags
from cli.inspect import inspect
from cli.networks import networks
from cli.quantize import quantize
from cli.recipes import recipes
from cli.streams import Output, robust_output
from cli.upscale import upscale
from dfsq import distributed
from dfsq.errors import DfsqError, WorkerLostError
from dfsq.version import __version__

EXIT_CODES = (
    "Exit codes: 0 success, 1 run failed, 2 usage error, 3 gate failed, 130 interrupted (Ctrl-C), 143 terminated."
)
COMPLETION = "_DFSQ_COMPLETE"
"""What a shell sets that wants words completed, or the script for it: see docs/terminal.md."""
_MEMORY = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "ALLOC_FAILED")
"""How libraries say that memory has run out."""
_OURS_TO_CATCH: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""Signals and the handlers that Python starts with; whoever has set others wants them."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="dfsq")
def group() -> None:
    """Quantize pretrained super-resolution networks to 8…2 bits, and measure what that costs."""


for command in (quantize, evaluate, analyze, compare, upscale, export, inspect, networks, recipes, data, demo):
    group.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit. A failure is one line on stderr; ``--debug`` shows its traceback.

    Of several processes that ``torchrun`` has started, the first prints, and whichever fails first tells why.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if COMPLETION in os.environ:
        group.main(arguments, prog_name="dfsq", complete_var=COMPLETION)  # prints what the shell asks for, as bytes
    distributed.end_with_launcher()
    # Before torch is imported: threads that wait by spinning slow a busy machine down several times.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with robust_output(silent=distributed.launched_rank() > 0) as output:
        code = _run(arguments) or _printed(output)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    asked: list[int] = []
    try:
        with _stoppable(asked):
            code: int | None = group.main(arguments or ["--help"], prog_name="dfsq", standalone_mode=False)
            distributed.finish()
            return code or 0
    except (Exception, KeyboardInterrupt, _Stopped) as raised:
        # A library may have taken the signal for an error of its own, as numpy does while scikit-learn is imported.
        error = _Stopped(asked[0]) if asked else raised
        if "--debug" in arguments and not isinstance(error, click.exceptions.ClickException | click.Abort | _Stopped):
            raise
        message, code = _explain(error)
        if isinstance(raised, _Stopped | WorkerLostError):  # whoever was at work may know what is left of it
            message = "; ".join((message, *getattr(raised, "__notes__", ())))
        if distributed.is_first_to_fail():
            tell(with_flags(message, group))
        return code


def _printed(output: Output) -> int:
    """0 where everything could be printed, else 1: a result that nobody has seen is no success."""
    output.flush()
    if output.error is None:
        return 0
    tell(f"cannot print the result: {output.error.strerror or output.error}; print it elsewhere")
    return 1


def _explain(error: BaseException) -> tuple[str, int]:
    """What is told of a failure, and the exit code."""
    if _is_out_of_memory(error):
        return "out of memory; use fewer or smaller images, or upscale with --tile", 1
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "dfsq"
        return f"{error.format_message().rstrip('.')}; see '{command} --help'", error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, _Stopped) and error.signal == signal.SIGTERM:
        return distributed.LOST if distributed.is_launched() else "terminated; no file was left unfinished", 143
    if isinstance(error, _Stopped | click.Abort | KeyboardInterrupt):
        return "interrupted; no file was left unfinished", 130
    if isinstance(error, DfsqError):
        return str(error), error.exit_code
    if isinstance(error, ImportError):
        return f"a library that dfsq needs cannot be imported ({error}); install dfsq again", 1
    if isinstance(error, RecursionError):
        return "an input is nested too deeply to be read; look into it", 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {os.fsdecode(error.filename)}: {error.strerror}", 1
    reason = " ".join(str(error).split())[:300]
    return f"unexpected {type(error).__name__}: {reason}; run again with --debug to see where", 1


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, also where that was taken for something else."""
    if error is None or isinstance(error, MemoryError):
        return error is not None
    said = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _MEMORY)
    return said or getattr(error, "errno", None) == errno.ENOMEM or _is_out_of_memory(error.__cause__)


class _Stopped(BaseException):
    """A signal asks the process to end. No Exception, which is caught in places."""

    def __init__(self, signal: int) -> None:
        self.signal = signal


@contextmanager
def _stoppable(asked: list[int]) -> Iterator[None]:
    """Signals that end a process raise :class:`_Stopped` meanwhile, so that unfinished files are removed, and are added
    to ``asked``."""

    def stop(number: int, _frame: object) -> NoReturn:
        asked.append(number)
        raise _Stopped(number)

    in_charge = threading.current_thread() is threading.main_thread()
    caught = [each for each, default in _OURS_TO_CATCH.items() if in_charge and signal.getsignal(each) == default]
    for each in caught:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in caught:
            if signal.getsignal(each) is stop:
                signal.signal(each, _OURS_TO_CATCH[each])
