"""Imports that end in torchvision, also where torchvision was built for another torch.

The compiled part of such a torchvision does not load, and its import fails where it describes the operators of that
part, whether anybody calls them or not. The networks here call none: it is enough that the names exist.
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from types import ModuleType

from torch.library import Library

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_LIMIT = 50
"""Operators that are defined at most; torchvision has about twenty."""


def import_module(name: str) -> ModuleType:
    """Import ``name``; define the torchvision operators that its import finds missing, and only those.

    Raises whatever the import raises for any other reason.
    """
    for _ in range(_LIMIT):
        try:
            return importlib.import_module(name)
        except RuntimeError as error:
            missing = _MISSING.search(str(error))
            if missing is None:
                raise
            _define(missing[1])
    return importlib.import_module(name)


@cache  # a definition lasts as long as its Library
def _define(operator: str) -> Library:
    library = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    # No kernel comes with it, so any signature will do.
    library.define(f"{operator}() -> ()")  # type: ignore[no-untyped-call]
    return library
