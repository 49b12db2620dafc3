"""The ``dfsq quantize`` command that gives a recipe again, with changes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click


def quantize_command(
    command: click.Command,
    checkpoint: str,
    recipe: Mapping[str, Any],
    changes: Mapping[str, Any],
    calib: Sequence[Path],
) -> str:
    """The line that quantizes ``checkpoint`` by ``recipe``, as an artifact holds it, with ``changes`` to its choices.

    ``command``: that of ``dfsq quantize``, whose options are written. What differs from the shipped recipe of that
    name and has no option is left out.
    """
    from calibration.recipes.files import recipe as recipe_called
    from calibration.recipes.files import shipped

    name = recipe["name"]
    usual = recipe_called(name).to_dict() if name in shipped() else {}
    words = ["dfsq", "quantize", checkpoint, "--recipe", name if usual else f"{name}.yaml"]
    values = {key: value for key, value in {**recipe, **changes}.items() if _plain(usual.get(key)) != _plain(value)}
    if (bits := values.get("w_bits")) == recipe["a_bits"] and bits is not None:
        words += ["--bits", str(bits)]
        values = {key: value for key, value in values.items() if key not in ("w_bits", "a_bits")}
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    for key, value in values.items():
        if key in options and key not in ("name", "method"):
            words += _flags(options[key], value)
    for path in calib:
        words += ["--calib", str(path)]
    return shlex.join(words)


def _flags(option: click.Option, value: Any) -> Iterable[str]:
    flag = option.opts[-1]
    if isinstance(value, bool):
        return [flag if value else option.secondary_opts[-1]]
    if option.multiple:
        pairs = (each if isinstance(each, str) else "=".join(map(str, each)) for each in value)
        return [word for pair in pairs for word in (flag, pair)]
    if value is None:
        return [flag, getattr(option.type, "word", None) or "none"]
    return [flag, f"{value:g}" if isinstance(value, float) else str(value)]


def _plain(value: Any) -> Any:
    """A value whose lists and tuples compare as one."""
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
