"""Recipes as files: those that ship with the package, and anyone's own, in YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from calibration.recipe import Recipe
from dfsq.errors import UsageError
from dfsq.files import read_small

_MOST_BYTES = 100_000
"""A recipe has some twenty lines; anything much larger is another file, or means harm."""

_DEEPEST = 10


def shipped() -> list[str]:
    """Names of the recipes that come with the package, in alphabetical order."""
    folder = files("calibration") / "recipes"
    return sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml"))


def is_file(name: str) -> bool:
    """Whether ``name`` is that of a file of one's own, not of a recipe that ships with the package."""
    return name not in shipped() and Path(name).suffix.lower() in (".yaml", ".yml")


def text_of(name: str) -> str:
    """The YAML text of a shipped recipe, or of a file. Raises :class:`UsageError` where there is neither."""
    if name in shipped():
        return (files("calibration") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    if not is_file(name):
        raise UsageError(f"unknown recipe {name!r}; known: {', '.join(shipped())}, or a .yaml file")
    content = read_small(Path(name), _MOST_BYTES, "recipe")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no YAML in UTF-8: {error.reason} at byte {error.start}") from error


def recipe(name: str = "fast", **changes: Any) -> Recipe:
    """Return a shipped recipe, or that of a YAML file, with ``changes`` to its fields.

    What a file leaves out is as in ``fast``. Raises :class:`UsageError` for an unknown name, a file that is no recipe,
    an unknown key, with the nearest known one, and a value that cannot be.
    """
    content = _parsed(text_of(name), name)
    if not isinstance(content, Mapping):
        raise UsageError(f"{name} is no recipe; `dfsq recipes show fast` prints one")
    values = {"name": Path(name).stem, **content}
    known = [field.name for field in fields(Recipe)]
    for key in values.keys() | changes.keys():
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"recipe {name}: unknown key {str(key)[:60]!r}; {hint}")
    if isinstance(values.get("layer_bits"), Mapping):
        values["layer_bits"] = tuple(values["layer_bits"].items())
    if isinstance(values.get("skip"), list):
        values["skip"] = tuple(values["skip"])
    return Recipe(**{**values, **changes})


def to_yaml(recipe: Recipe) -> str:
    """Every choice of ``recipe`` as YAML that :func:`recipe` reads back."""
    values = recipe.to_dict() | {"skip": list(recipe.skip), "layer_bits": dict(recipe.layer_bits)}
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


class _Loader(yaml.SafeLoader):
    """Plain values alone: no aliases, of which a few lines make billions of values, and no key twice."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) have no use in a recipe; write the value")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key, count in Counter(keys).items() if count > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"{twice!r} is there twice")
        return super().construct_mapping(node, deep)


def _parsed(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    # What looks like a number or a date and is none raises whatever its conversion does.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise UsageError(f"{name} is no YAML: {' '.join(str(error).split())[:300]}") from error
