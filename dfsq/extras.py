"""Libraries that only some users need."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from dfsq.errors import DfsqError


def require(module: str, extra: str) -> ModuleType:
    """The library ``module``, which ``pip install 'dfsq[extra]'`` brings.

    Raises :class:`DfsqError` where it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise DfsqError(f"{module} is not installed ({error}); pip install 'dfsq[{extra}]'") from error


def installed(module: str) -> bool:
    """Whether :func:`require` would find ``module``, which is not imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: imported by somebody who has left it without a specification
        return False
