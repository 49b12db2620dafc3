"""The ``dfsq quantize`` command that gives a recipe again, with changes."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfsq.errors import UsageError

if TYPE_CHECKING:
    from calibration import Recipe

_OPEN = (None, "auto")
"""What choices are where a run settles them."""


def quantize_command(
    command: click.Command,
    checkpoint: str,
    recipe: Mapping[str, Any],
    changes: Mapping[str, Any],
    calib: Sequence[Path],
) -> str:
    """The line that quantizes ``checkpoint`` by ``recipe``, as an artifact holds it, with ``changes`` to its choices.

    ``command``: that of ``dfsq quantize``, whose options are written. A recipe that they do not make of the shipped one
    of its name comes from a file.
    """
    from calibration.recipes.files import recipe as recipe_called
    from calibration.recipes.files import shipped

    options = {str(option.name): option for option in command.params if isinstance(option, click.Option)}
    values = {key: value for key, value in recipe.items() if key in options}
    called = f"{recipe['name']}.yaml"
    if recipe["name"] in shipped():
        usual = recipe_called(recipe["name"])
        differing = _differing(usual, values, recipe["method"])
        if _gives(usual, differing, recipe):
            called, values = recipe["name"], differing
    words = ["dfsq", "quantize", checkpoint, "--recipe", called]
    values |= changes
    if (bits := values.get("w_bits")) == recipe["a_bits"] and bits is not None:
        words += ["--bits", str(bits)]
        values = {key: value for key, value in values.items() if key not in ("w_bits", "a_bits")}
    for key, value in values.items():
        words += _flags(options[key], value)
    for path in calib:
        words += ["--calib", str(path)]
    return shlex.join(words)


def _differing(usual: Recipe, values: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Those of ``values`` that ``usual`` does not have, and what chooses the ``method``."""
    stated = usual.to_dict()
    found = {key: value for key, value in values.items() if _frozen(stated.get(key)) != _frozen(value)}
    return found if method == usual.method else found | {"compensation": method == "sequential"}


def _gives(usual: Recipe, changes: Mapping[str, Any], recipe: Mapping[str, Any]) -> bool:
    """Whether ``usual`` with ``changes`` is ``recipe``, as an artifact holds it, where nothing is left open."""
    try:
        found = usual.changed(**{key: _frozen(value) for key, value in changes.items()}).to_dict()
    except UsageError:
        return False
    return all(_frozen(recipe.get(key, value)) == _frozen(value) for key, value in found.items() if value not in _OPEN)


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


def _frozen(value: Any) -> Any:
    """A value as recipes hold it; artifacts have lists for tuples."""
    return tuple(_frozen(each) for each in value) if isinstance(value, list | tuple) else value
