"""The engine that a model runs in: the options, and opening it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.console import note
from cli.loading import tell_notes
from dfsq.engines.registry import NAMES, PRECISIONS, TORCH

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine
    from dfsq.model import SRModel

Command = TypeVar("Command", bound=Callable[..., Any])


def engine_options(precision: str) -> Callable[[Command], Command]:
    """Add ``--engine`` and ``--precision``, by default ``precision``: f32 where drops are measured, for they are drops
    from what the checkpoint gives, and bfloat16 has one of its own."""

    def add(command: Command) -> Command:
        command = click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default=precision,
            show_default=True,
            help="What the engine computes in; auto: its own choice, f32 for a graph of integers.",
        )(command)
        return click.option(
            "--engine",
            type=click.Choice(NAMES),
            help="What runs the network; a checkpoint is exported for it.  "
            "[default: torch; of graphs the first installed]",
        )(command)

    return add


def check_engine(engine: str | None, models: Sequence[str], **only_torch: bool) -> None:
    """Refuse options that mean nothing where no model runs in torch; ``only_torch`` tells which are given.

    Raises :class:`click.UsageError`.
    """
    given = [name for name, is_given in only_torch.items() if is_given]
    if not given or in_torch(engine, models):
        return
    flags = " and ".join(f"--{name}" for name in given)
    which = f"--engine {engine}" if engine else f"{models[0]}, which runs in another engine"
    raise click.UsageError(f"{flags} is for --engine torch alone, not for {which}; leave it out")


def in_torch(engine: str | None, models: Sequence[str]) -> bool:
    """Whether any of ``models`` runs in torch."""
    if engine is not None:
        return engine == TORCH
    from dfsq.checkpoint.sniffing import graph_format

    return any(graph_format(Path(each)) is None for each in models)


def open_engine(path: str, quiet: bool, engine: str | None, precision: str, **overrides: Any) -> Engine:
    """:func:`dfsq.engine` of a file, with the values of :func:`cli.loading.checkpoint_options`; says on stderr what the
    user should know."""
    import dfsq

    opened = dfsq.engine(path, engine, precision=precision, on_note=partial(note, quiet=quiet), **overrides)
    tell_notes(path, opened.notes, quiet)
    return opened


def engine_of(model: SRModel, quiet: bool, engine: str | None, precision: str) -> Engine:
    """:func:`dfsq.engine` of a model in memory."""
    import dfsq

    return dfsq.engine(model, engine, precision=precision, on_note=partial(note, quiet=quiet))
