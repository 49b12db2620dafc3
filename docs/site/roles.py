"""Roles of Sphinx in docstrings, ``:class:`Name```, become links of the site: an extension of griffe."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`(~?)([\w.]+)`")


class Roles(griffe.Extension):
    """Turns roles into links; where the site has no such object, into code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of ``obj``."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(lambda match: _link(match, obj), obj.docstring.value)


def _link(match: re.Match[str], obj: Any) -> str:
    short, name = match.groups()
    shown = name.rpartition(".")[2] if short else name
    try:
        path = obj.resolve(name)
    except griffe.NameResolutionError:
        path = name
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'
