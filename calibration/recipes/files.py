"""Recipes as files: those that ship with the package, and anyone's own, in YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from calibration import methods  # noqa: F401 - they register
from calibration.recipes import version_0_1
from calibration.recipes.choice import shown
from calibration.recipes.recipe import METHODS, Recipe
from dfsq.errors import UsageError
from dfsq.files import read_small

_MOST_BYTES = 100_000
"""A recipe has some twenty lines; anything much larger is another file, or means harm."""

_DEEPEST = 10

DEFAULT = "accurate"
"""Name of the recipe that is taken where none is named."""


def shipped() -> list[str]:
    """Names of the recipes that come with the package, in alphabetical order."""
    folder = files("calibration") / "recipes"
    return sorted(each.name.removesuffix(".yaml") for each in folder.iterdir() if each.name.endswith(".yaml"))


def is_file(name: str) -> bool:
    """Whether ``name`` is that of a file of one's own, not of a recipe that ships with the package."""
    return _ours(name) is None and Path(name).suffix.lower() in (".yaml", ".yml")


def _ours(name: str) -> str | None:
    """The recipe of the package that is called ``name``, as it is written there; None: it has none."""
    return name.lower() if name.lower() in shipped() else None


def text_of(name: str) -> str:
    """The YAML text of a shipped recipe, or of a file. Raises :class:`UsageError` where there is neither."""
    if ours := _ours(name):
        return (files("calibration") / "recipes" / f"{ours}.yaml").read_text(encoding="utf-8")
    if not is_file(name):
        raise UsageError(f"unknown recipe {name!r}; known: {', '.join(shipped())}, or a .yaml file")
    content = read_small(Path(name), _MOST_BYTES, "recipe")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no YAML in UTF-8: {error.reason} at byte {error.start}") from error


def purpose_of(text: str) -> str:
    """What the recipe with this ``text`` is for: its first line, where that is a comment."""
    first = (text.splitlines() or [""])[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def recipe(name: str = DEFAULT, **changes: Any) -> Recipe:
    """Return a shipped recipe, whose case does not matter, or that of a YAML file, with ``changes`` to its choices.

    A file names its method; what it leaves out is as that method has it. One without is read as those of 0.1 were.
    The change ``compensation`` chooses between the methods one-pass and sequential. Raises :class:`UsageError` for an
    unknown name, a file that is no recipe, a choice that the method does not have, and a value that cannot be.
    """
    values = _mapping(text_of(name), name)
    try:
        own = _method_of(values).of({"name": _ours(name) or Path(name).stem, **values})
    except UsageError as error:
        # Fields of the file, not parameters of the caller, which are those in backquotes.
        fields = str(error).replace("`", "'")
        raise UsageError(f"recipe {name}: {fields}") from error
    return own.changed(**changes)


def _mapping(text: str, name: str) -> dict[Any, Any]:
    """The content of a recipe, lists and mappings as recipes hold them."""
    content = _parsed(text, name)
    if not isinstance(content, Mapping):
        raise UsageError(f"{name} is no recipe; `dfsq recipes show accurate` prints one")
    values = dict(content)
    if isinstance(values.get("layer_bits"), Mapping):
        values["layer_bits"] = tuple(values["layer_bits"].items())
    if isinstance(values.get("skip"), list):
        values["skip"] = tuple(values["skip"])
    return values


def _method_of(values: dict[Any, Any]) -> type[Recipe]:
    """The method of a recipe with ``values``, which are left with what it can be told."""
    if "method" not in values:
        return version_0_1.read(values)
    method = values.pop("method")
    if method not in list(METHODS):
        raise UsageError(f"unknown method {shown(method)}; known: {', '.join(sorted(METHODS))}")
    return METHODS[method]


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
