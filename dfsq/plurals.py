"""Numbers of things, as people read them."""

from __future__ import annotations


def counted(number: int, word: str) -> str:
    """``number`` and ``word``, which takes an s for more than one: ``1 step``, ``3 steps``."""
    return f"{number} {word}{'s' * (number != 1)}"
