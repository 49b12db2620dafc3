"""Types of options: numbers in a range, and what holds numbers."""

from __future__ import annotations

import re
from typing import Any

import click

from dfsq.limits import Limits

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


class Number(click.ParamType):  # type: ignore[type-arg] # generic since click 8.2 alone
    """A number within ``limits``, or the one ``word`` that stands for none."""

    def __init__(self, kind: type[int] | type[float], limits: Limits, word: str | None = None) -> None:
        self._kind = kind
        self._limits = limits
        self.word = word
        self.name = "integer" if kind is int else "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that ``value`` spells in ASCII. Raises :class:`click.BadParameter`."""
        if not isinstance(value, str) or value == self.word:
            return value
        if not (_WHOLE if self._kind is int else _DECIMAL).fullmatch(value):
            whole = "no whole number" if self._kind is int else "no number"
            what = whole if self.word is None else f"neither a number nor {self.word!r}"
            self.fail(f"{_short(value)} is {what}; choose {self._limits}", param, ctx)
        # A number with more digits than Python converts is out of range as well.
        number = self._kind(value) if len(value) < 1000 else float("inf")
        if not self._limits.allow(number):
            self.fail(f"{_short(value)} is out of range; choose {self._limits}", param, ctx)
        return number


class NumberFor(click.ParamType):  # type: ignore[type-arg]
    """``KEY=NUMBER``, as a pair."""

    name = "text"

    def __init__(self, form: str, example: str, number: Number) -> None:
        self._form = form
        self._example = example
        self._number = number

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Both parts. Raises :class:`click.BadParameter`."""
        if not isinstance(value, str):
            return value
        key, _, number = value.rpartition("=")
        if not key:
            self.fail(f"{_short(value)} is not of the form {self._form}, for example {self._example}", param, ctx)
        return key, self._number.convert(number, param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]
    """``HxW``: height and width, each within ``limits``."""

    name = "text"

    def __init__(self, limits: Limits) -> None:
        self._side = Number(int, limits)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Height and width. Raises :class:`click.BadParameter`."""
        if not isinstance(value, str):
            return value
        sides = re.split("[x×]", value)
        if len(sides) != 2:
            self.fail(f"{_short(value)} is not of the form HxW, for example 270x480", param, ctx)
        return self._side.convert(sides[0], param, ctx), self._side.convert(sides[1], param, ctx)


def split_commas(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Callback of a repeatable option whose values may also be separated by commas."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _short(value: str) -> str:
    return repr(value if len(value) < 60 else f"{value[:60]}…")
