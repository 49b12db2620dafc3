"""One choice of a recipe: what it is and which values it takes, in one place with its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from reprlib import Repr
from typing import Any

from dfsq.errors import UsageError
from dfsq.limits import Limits

_KEY = "choice"


@dataclass(frozen=True)
class Choice:
    """What a field of a recipe knows of itself."""

    name: str
    kind: Any
    """The type of its values, a key of ``_TYPES``."""
    default: Any
    comment: str
    """For whoever reads the recipe; a few words."""
    limits: Limits | None
    known: tuple[str, ...]
    """The values that there are; none: any."""
    only: Mapping[str, tuple[str, ...]]
    """Other fields and their values, of which one must hold for this one to mean anything; none: it always does."""

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the choice means anything to a recipe with ``values``."""
        return not self.only or any(values[name] in needed for name, needed in self.only.items())

    def needed(self) -> str:
        """What must be chosen for this one to mean anything, as a message says it."""
        needed = " or ".join(f"`{name}` {' or '.join(values)}" for name, values in self.only.items())
        return f"`{self.name}` means nothing without {needed}"

    def check(self, value: Any) -> None:
        """Raise :class:`UsageError` for a value of another type, out of range, or that is not known."""
        fits, expected = _TYPES[self.kind]
        if not fits(value):
            raise UsageError(f"{self.name} is {shown(value)}; it must be {expected}")
        if self.known and value is not None and value not in self.known:
            raise UsageError(f"unknown {self.name} {shown(value)}; known: {', '.join(self.known)}")
        pairs = value if self.kind == PATTERN_BITS else ((None, value),)
        for pattern, number in pairs:
            if self.limits and number is not None and not self.limits.allow(number):
                which = self.name if pattern is None else f"{self.name} {shown(pattern)}"
                raise UsageError(f"{which} is {shown(number)}; choose {self.limits}")


def choice(
    default: Any,
    comment: str,
    *,
    limits: Limits | None = None,
    known: tuple[str, ...] = (),
    only: Mapping[str, tuple[str, ...]] | None = None,
) -> Any:
    """A field of a recipe, see :class:`Choice`."""
    return field(default=default, metadata={_KEY: (comment, limits, known, only or {})})


def choice_of(field: Field[Any], kind: Any) -> Choice:
    """What a field made by :func:`choice`, of type ``kind``, knows of itself."""
    return Choice(field.name, kind, field.default, *field.metadata[_KEY])


def shown(value: Any) -> str:
    """``value`` in a message, which is one line whatever it is."""
    return Repr().repr(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and _is_whole(value[1])


PATTERN_BITS = tuple[tuple[str, int], ...]
_TYPES: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (lambda value: isinstance(value, str), "str"),
    str | None: (lambda value: value is None or isinstance(value, str), "str or none"),
    bool: (lambda value: isinstance(value, bool), "bool"),
    int: (_is_whole, "int"),
    float: (_is_number, "float"),
    int | None: (lambda value: value is None or _is_whole(value), "int or none"),
    float | None: (lambda value: value is None or _is_number(value), "float or none"),
    tuple[str, ...]: (
        lambda value: isinstance(value, tuple) and all(isinstance(each, str) for each in value),
        "a list of patterns, for example ['body.0.*']",
    ),
    PATTERN_BITS: (
        lambda value: isinstance(value, tuple) and all(map(_is_pair, value)),
        "patterns with whole numbers, for example {'body.0.*': 8}",
    ),
}
"""What a field of each type takes, and how that is called."""
