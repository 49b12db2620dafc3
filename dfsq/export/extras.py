"""Libraries that only some users need."""

from __future__ import annotations

from importlib import import_module
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
