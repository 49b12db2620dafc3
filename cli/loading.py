"""Loading the model that a command is about, with what its user should know of it."""

from __future__ import annotations

import json
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli import completion
from cli.console import note
from cli.flags import with_flags
from cli.values import Number
from dfsq import limits

if TYPE_CHECKING:
    from dfsq.model import SRModel

Command = TypeVar("Command", bound=Callable[..., Any])


def _arch_args(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for value in values:
        name, sign, text = value.partition("=")
        if not (name.isidentifier() and sign):
            raise click.BadParameter(f"{value!r} is not of the form NAME=VALUE, for example residual_scale=0.1")
        if name in found:
            raise click.BadParameter(f"{name} is given twice")
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:
    """A value as JSON or Python spells it, else the text itself."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        pass
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _no_constant(name: str) -> float:
    raise click.BadParameter(f"{name} is no number that a network can be built with")


def checkpoint_options(command: Command) -> Command:
    """Add what overrides the detection of a checkpoint's network, and the device: the arguments of `load_model`."""
    for option in (
        click.option("--device", default="cpu", show_default=True, help="Torch device, for example cuda or cuda:1."),
        click.option(
            "--force", is_flag=True, help="Go on with a network that fails the plausibility check.  [default: off]"
        ),
        click.option(
            "--rgb-range",
            type=Number(float, limits.RGB_RANGE),
            help="Input range of the network: 1 or 255.  [default: the architecture's, or what passes the check]",
        ),
        click.option(
            "--scale",
            type=Number(int, limits.SCALE),
            help="Upscaling factor, where a checkpoint leaves a choice.  [default: from shapes, name and check]",
        ),
        click.option(
            "--arch-arg",
            "arch_args",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_arch_args,
            help="Hyper-parameter of the network that overrides what is detected; repeatable.  [default: none]",
        ),
        click.option(
            "--arch",
            metavar="NAME",
            shell_complete=completion.networks,
            help="Architecture, see `dfsq networks`; or code of your own, which is run: FILE.py:NAME or MODULE:NAME."
            "  [default: detected]",
        ),
    ):
        command = option(command)
    return command


def checkpoint_flags(
    arch: str | None, arch_args: Mapping[str, Any], scale: int | None, rgb_range: float | None, force: bool
) -> list[str]:
    """The words of a command line that :func:`checkpoint_options` reads as these values."""
    words = [] if arch is None else ["--arch", arch]
    for name, value in dict(arch_args).items():  # () where a command invokes another, whose callbacks do not run then
        words += ["--arch-arg", f"{name}={value!r}"]
    words += [] if scale is None else ["--scale", str(scale)]
    words += [] if rgb_range is None else ["--rgb-range", f"{rgb_range:g}"]
    return words + ["--force"] * force


def body_option(command: Command) -> Command:
    """Add ``--body``."""
    return click.option(
        "--body",
        metavar="GLOB",
        shell_complete=completion.layers,
        multiple=True,
        help="Layers in body scope, whose activations are quantized; repeatable.  [default: the paper's, or a rule]",
    )(command)


def load_model(path: str, quiet: bool, **overrides: Any) -> SRModel:
    """:func:`dfsq.load` with the values of :func:`checkpoint_options`; says on stderr what the user should know."""
    import dfsq

    model = dfsq.load(path, **overrides)
    tell_notes(path, model.notes, quiet)
    return model


def tell_notes(path: str, notes: Iterable[str], quiet: bool) -> None:
    """Print what the user should know of the model in ``path`` on stderr."""
    for line in notes:
        note(f"{path}: {flagged(line)}", quiet)


def flagged(message: str) -> str:
    """``message`` of the library with flags for the parameters that it names."""
    group = click.get_current_context().find_root().command
    return with_flags(message, group) if isinstance(group, click.Group) else message
