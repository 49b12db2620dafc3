"""JSON from a file that anybody may have written: read strictly, and each field checked when it is taken.

Every message names the field, its value, and what it may be. All are ValueErrors, which the reader of the file puts
behind its path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

MAX_DEPTH = 16
"""How deep lists and objects may lie in each other."""
MAX_AXES = 8
MAX_SIZE = 2**48

Value = TypeVar("Value")


def parse(text: str | bytes) -> dict[str, Any]:
    """The JSON object that ``text`` is.

    Raises ValueError for anything that two readers may understand differently (a key twice, NaN, a number beyond
    float64, half a surrogate pair), for values deeper than MAX_DEPTH, and for what is no object.
    """
    try:
        document = json.loads(text, object_pairs_hook=_once_each, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"lists and objects deeper than {MAX_DEPTH} in each other") from None
    if not isinstance(document, dict):
        raise ValueError(f"{shown(document)} instead of an object")
    _check(document, MAX_DEPTH)
    return document


def shown(value: object) -> str:
    """``value`` as a message shows it: on one line and short."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def label(name: str) -> str:
    """A name that stands in a file, as a message shows it."""
    return shown(name)[1:-1]


class Fields:
    """The fields of one JSON object."""

    def __init__(self, value: object, name: str) -> None:
        """``name`` leads to the object: ``"layers.body.0"``. Raises ValueError where ``value`` is no object."""
        if not isinstance(value, dict):
            raise ValueError(f"{name} is {shown(value)}; it must be an object")
        self._fields = value
        self._name = name

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer in ``low``…``high``."""
        value = self._take(key)
        if type(value) is not int or not low <= value <= high:
            self._refuse(key, f"an integer from {low} to {high}")
        return int(value)

    def number(self, key: str, low: float, high: float) -> float:
        """A number above ``low``, up to ``high``."""
        value = self._take(key)
        if type(value) not in (int, float) or not low < value <= high:
            self._refuse(key, f"a number above {low:g}, up to {high:g}")
        return float(value)

    def text(self, key: str) -> str:
        """A string."""
        value = self._take(key)
        if not isinstance(value, str):
            self._refuse(key, "a string")
        return str(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            self._refuse(key, "true or false")
        return bool(value)

    def one_of(self, key: str, known: tuple[Value, ...]) -> Value:
        """One of the values ``known``."""
        value = self._take(key)
        for each in known:
            if type(value) is type(each) and value == each:
                return each
        self._refuse(key, " or ".join(map(shown, known)))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._refuse(key, "a list of strings")
        return tuple(value)

    def sizes(self, key: str) -> tuple[int, ...]:
        """A list of a few integers that are not negative."""
        value = self._take(key)
        if not isinstance(value, list) or len(value) > MAX_AXES:
            self._refuse(key, f"a list of at most {MAX_AXES} sizes")
        if not all(type(each) is int and 0 <= each <= MAX_SIZE for each in value):
            self._refuse(key, f"a list of integers from 0 to {MAX_SIZE}")
        return tuple(value)

    def span(self, key: str, length: int) -> tuple[int, int]:
        """First and last but one of a part of something that is ``length`` long."""
        value = self.sizes(key)
        if len(value) != 2 or not value[0] <= value[1] <= length:
            self._refuse(key, f"where a part of {length} bytes begins and ends")
        return value[0], value[1]

    def mapping(self, key: str) -> dict[str, Any]:
        """An object with whatever values."""
        value = self._take(key)
        if not isinstance(value, dict):
            self._refuse(key, "an object")
        return dict(value)

    def text_mapping(self, key: str) -> dict[str, str]:
        """An object with strings as values."""
        value = self.mapping(key)
        if not all(isinstance(each, str) for each in value.values()):
            self._refuse(key, "an object of strings")
        return value

    def objects(self, key: str) -> Iterator[tuple[str, Fields]]:
        """Keys and values of an object that has objects as values."""
        for name, value in self.mapping(key).items():
            yield name, Fields(value, f"{self._path(key)}.{label(name)}")

    def fields(self, key: str) -> Fields:
        """An object, whose fields are then taken."""
        return Fields(self._take(key), self._path(key))

    def optional(self, take: Callable[..., Value], key: str, *limits: Any) -> Value | None:
        """None for null, else what ``take``, one of the methods above, gives."""
        return None if self._take(key) is None else take(key, *limits)

    def _take(self, key: str) -> Any:
        if key not in self._fields:
            raise ValueError(f"{self._path(key)} is missing")
        return self._fields[key]

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise ValueError(f"{self._path(key)} is {shown(self._fields[key])}; it must be {expected}")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError(f"a key of {shown(sorted(result))} occurs twice")
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is beyond what a number can be")
    return value


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        value.encode()  # raises UnicodeEncodeError, a ValueError, for half a surrogate pair
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"lists and objects deeper than {MAX_DEPTH} in each other")
        for each in value:
            _check(each, depth - 1)
        for each in value.values() if isinstance(value, Mapping) else ():
            _check(each, depth - 1)
