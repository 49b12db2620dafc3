"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli import completion
from cli.console import note
from cli.values import split_commas

Command = TypeVar("Command", bound=Callable[..., Any])


def common_options(command: Command) -> Command:
    """Add ``--debug``, which :func:`cli.main.main` reads."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.  [default: off]"
    )(command)


def quiet_option(command: Command) -> Command:
    """Add ``--quiet``."""
    return click.option("-q", "--quiet", is_flag=True, help="No progress and no notes on stderr.  [default: off]")(
        command
    )


def data_options(command: Command) -> Command:
    """Add where benchmark sets lie."""
    return click.option(
        "--data",
        metavar="ROOT",
        envvar="DFSQ_DATA",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="Folder that holds the benchmark sets.  [default: none]",
    )(command)


def calibration_options(images: str = "Calibration images") -> Callable[[Command], Command]:
    """Add ``--calib`` and ``--calib-is-lr``; ``images`` says what they are to the command."""

    def add(command: Command) -> Command:
        is_lr = click.option("--calib-is-lr", is_flag=True, help="These images are LR already.  [default: off]")
        return click.option(
            "--calib",
            metavar="PATH",
            multiple=True,
            type=click.Path(path_type=Path),
            help=f"{images}: files or folders, HR; repeatable.  [default: two sample photographs]",
        )(is_lr(command))

    return add


def set_option(default: str) -> Callable[[Command], Command]:
    """Add ``--set``, which ``quantize`` once called ``--eval``; ``default`` says what is scored without it."""
    return click.option(
        "--set",
        "--eval",
        "sets",
        metavar="SET",
        multiple=True,
        shell_complete=completion.sets,
        callback=split_commas,
        help=f"Benchmark sets under --data; repeatable or comma-separated.  [default: {default}]",
    )


def check_sets(sets: tuple[str, ...], data: Path | None) -> None:
    """Raise :class:`click.UsageError` for sets without a folder that holds them."""
    if sets and data is None:
        raise click.UsageError("--set needs --data ROOT, the folder that holds the sets")


def compile_option(command: Command) -> Command:
    """Add ``--compile`` and ``--no-compile``."""
    return click.option(
        "--compile/--no-compile",
        "compile_",
        default=None,
        help="Round activations by compiled code; takes a while the first time.  "
        "[default: on a CPU, where there is a C compiler]",
    )(command)


def report_option(command: Command) -> Command:
    """Add ``--report``."""
    return click.option(
        "--report",
        "reports",
        metavar="FILE",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Write the report: .json, .csv, .md or .html; repeatable.  [default: none]",
    )(command)


def prepare(device: str, compile_: bool | None = False, quiet: bool = False, calibrates: bool = False) -> str:
    """Make torch ready for a long run, with other processes if there are any; returns the device of this one.

    ``compile_`` None: where it costs next to nothing; ``calibrates``: the code of calibration too. Raises
    :class:`~dfsq.errors.UsageError` for a device that torch does not have.
    """
    import torch

    from dfsq import distributed
    from dfsq.errors import UsageError
    from dfsq.runtime import compile_quantizers, keep_freed_memory

    keep_freed_memory()
    device = distributed.start(device)
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise UsageError(f"device {device!r} is not available here; use --device cpu") from error
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)
    if compile_ or (compile_ is None and device == "cpu"):
        try:
            compile_quantizers(device)
        except Exception as error:  # what is raised differs between compilers
            note(f"activations are rounded by torch, slower: {' '.join(str(error).split())[:200]}", quiet=quiet)
        if calibrates:
            _compile_calibration(quiet)
    return device


def _compile_calibration(quiet: bool) -> None:
    from calibration import native

    if reason := native.failure():
        note(f"layers are calibrated by torch, slower: {' '.join(reason.split())[:200]}", quiet=quiet)
