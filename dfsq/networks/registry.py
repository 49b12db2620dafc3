"""The registry of architectures: those of this package, one file each, and those of installed plugins."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from dfsq.catalogue import GROUP
from dfsq.errors import DfsqError, UsageError
from dfsq.networks.architecture import Architecture


@cache
def architectures() -> dict[str, Architecture]:
    """All architectures by name, in the order in which they are tried: by ``order``, then by name.

    Raises :class:`DfsqError` for two of one name, and for a plugin that cannot be loaded.
    """
    return ordered([*_shipped(), *(_loaded(each) for each in entry_points(group=GROUP))])


def ordered(found: Iterable[Architecture]) -> dict[str, Architecture]:
    """``found`` by name, in the order of recognition.

    Raises :class:`DfsqError` for two of one name, and for a name that no option could give.
    """
    result: dict[str, Architecture] = {}
    for each in sorted(found, key=lambda each: (each.order, each.name)):
        if not each.name or each.name != each.name.lower() or ":" in each.name:
            raise DfsqError(f"the name {each.name!r} of {_origin(each)} must be in lower case, without a colon")
        if each.name in result:
            pair = f"{_origin(result[each.name])} and {_origin(each)}"
            raise DfsqError(f"two networks are called {each.name!r}: {pair}; rename or uninstall one")
        result[each.name] = each
    return result


def named(name: str) -> Architecture:
    """The architecture called ``name``; case does not matter. Raises :class:`UsageError` for an unknown one."""
    try:
        return architectures()[name.lower()]
    except KeyError:
        known = ", ".join(sorted(architectures()))
        raise UsageError(
            f"unknown architecture {name!r}; known: {known}; or FILE.py:NAME for one of your own"
        ) from None


def _shipped() -> Iterator[Architecture]:
    package = importlib.import_module("dfsq.networks")
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"dfsq.networks.{info.name}")
        if isinstance(architecture := getattr(module, "ARCHITECTURE", None), Architecture):
            yield architecture


def _origin(architecture: Architecture) -> str:
    return f"{architecture.title} ({getattr(architecture.build, '__module__', 'unknown module')})"


def _loaded(plugin: EntryPoint) -> Architecture:
    try:
        architecture = plugin.load()
    except (Exception, SystemExit) as error:  # a plugin is foreign code
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DfsqError(f"the plugin {plugin.value} cannot be loaded: {reason}; mend or uninstall it") from error
    if not isinstance(architecture, Architecture):
        kind = type(architecture).__name__
        raise DfsqError(f"the plugin {plugin.value} is a {kind}, not an Architecture; mend or uninstall it")
    return architecture
