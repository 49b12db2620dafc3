"""Other people's names as text that a terminal shows and does not obey."""

from __future__ import annotations

import unicodedata

_BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""What reorders the text after it."""


def printable(text: str, keep: str = "") -> str:
    """``text`` with control characters, line breaks and bytes that are no UTF-8 as escapes, all but those in ``keep``.

    Everything else, brackets and accents included, stays as it is.
    """
    return text if text.isprintable() else "".join(each if each in keep else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    obeyed = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    if not obeyed and unicodedata.bidirectional(character) not in _BIDIRECTIONAL:
        return character
    return repr(character)[1:-1]
