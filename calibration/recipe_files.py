"""Recipes as files: those that ship with the package, and anyone's own, in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from calibration.recipe import Recipe
from dfsq.errors import UsageError


def shipped() -> list[str]:
    """Names of the recipes that come with the package, in alphabetical order."""
    folder = files("calibration") / "recipes"
    return sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml"))


def text_of(name: str) -> str:
    """The YAML text of a shipped recipe, or of a file. Raises :class:`UsageError` where there is neither."""
    if name in shipped():
        return (files("calibration") / "recipes" / f"{name}.yaml").read_text()
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"unknown recipe {name!r}; known: {', '.join(shipped())}, or a .yaml file")
    try:
        return path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror or error}") from error


def recipe(name: str = "fast", **changes: Any) -> Recipe:
    """Return a shipped recipe, or that of a YAML file, with ``changes`` to its fields.

    What a file leaves out is as in ``fast``. Raises :class:`UsageError` for an unknown name, a file that is no recipe,
    an unknown key, with the nearest known one, and a value that cannot be.
    """
    try:
        content = yaml.safe_load(text_of(name))
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise UsageError(f"{name} is no recipe; `dfsq recipes show fast` prints one")
    values = {"name": Path(name).stem, **content}
    known = [field.name for field in fields(Recipe)]
    for key in values.keys() | changes.keys():
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"recipe {name}: unknown key {key!r}; {hint}")
    if isinstance(values.get("layer_bits"), Mapping):
        values["layer_bits"] = tuple(values["layer_bits"].items())
    if isinstance(values.get("skip"), list):
        values["skip"] = tuple(values["skip"])
    return Recipe(**{**values, **changes})


def to_yaml(recipe: Recipe) -> str:
    """Every choice of ``recipe`` as YAML that :func:`recipe` reads back."""
    values = recipe.to_dict() | {"skip": list(recipe.skip), "layer_bits": dict(recipe.layer_bits)}
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
