"""The networks that dfsq knows, by name, without importing one: torch takes seconds.

What a file of :mod:`dfsq.networks` says of its network it says in the literals of its ``ARCHITECTURE``, which are read
from its text, as setuptools reads a version. Networks that are found in no such text are imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files

GROUP = "dfsq.networks"
"""Entry-point group in which other packages register an :class:`~dfsq.networks.architecture.Architecture` each."""


@dataclass(frozen=True)
class Entry:
    """What an :class:`~dfsq.networks.architecture.Architecture` says of itself, in the order of recognition."""

    order: int
    name: str
    title: str
    rgb_range: float
    in_paper: bool
    """Whether the DFSQ paper lists its body scope."""


def catalogue() -> list[Entry]:
    """All networks, in the order in which they are tried.

    Raises :class:`~dfsq.errors.DfsqError` for a plugin that cannot be loaded.
    """
    found = None if entry_points(group=GROUP) else _of_texts()
    return sorted(found or _of_modules(), key=lambda each: (each.order, each.name))


def _of_texts() -> list[Entry] | None:
    """The networks of this package; None where a text does not tell, or there are none."""
    try:
        # Not files("dfsq.networks"), which imports it.
        folder = (files("dfsq") / "networks").iterdir()
        texts = (each.read_text("utf-8") for each in folder if each.name.endswith(".py"))
        return [_entry(call) for text in texts for call in _architectures(text)]
    except (OSError, SyntaxError, ValueError, KeyError):
        return None


def _architectures(text: str) -> Iterator[ast.Call]:
    """The calls whose result ``text`` assigns to ARCHITECTURE."""
    if "ARCHITECTURE" not in text:
        return
    for each in ast.parse(text).body:
        named = [to.id for to in each.targets if isinstance(to, ast.Name)] if isinstance(each, ast.Assign) else []
        if isinstance(each, ast.Assign) and "ARCHITECTURE" in named:
            if not isinstance(each.value, ast.Call):
                raise ValueError("ARCHITECTURE is no call")
            yield each.value


def _entry(call: ast.Call) -> Entry:
    """Raises KeyError and ValueError where the arguments that are needed are absent, or no literals."""
    given = {each.arg: each.value for each in call.keywords}
    usual = {"order": 0, "rgb_range": 1.0}
    values = usual | {key: ast.literal_eval(given[key]) for key in ("name", "title", *usual.keys() & given.keys())}
    body = given.get("body", ast.Constant(None))
    return Entry(**values, in_paper=not (isinstance(body, ast.Constant) and body.value is None))


def _of_modules() -> list[Entry]:
    from dfsq.networks import architectures

    return [
        Entry(each.order, each.name, each.title, each.rgb_range, each.body is not None)
        for each in architectures().values()
    ]
