"""What a pickle would build, worked out before anything is built.

torch's ``weights_only`` unpickler runs no foreign code, but it hashes whatever is a key, calls some constructors that
take sizes, and prints what it refuses to call. So a few bytes can cost hours, all memory or the process: tuples of
tuples as a key, ``bytearray(10**12)``, a call of a list of lists.
"""

from __future__ import annotations

import pickle
import pickletools
import re
from typing import IO, NamedTuple, cast

MAX_DEPTH = 100
"""Of tuples in tuples. Python's hash of a deeper one can overflow the stack."""
MAX_VALUES = 10_000_000
"""In one tuple, and in all keys together, a repeated value counted as often as it appears."""


class CraftedPickleError(ValueError):
    """A pickle that would cost far more than its size; the message says by what."""


class _Tuple(NamedTuple):
    depth: int
    values: int


_VALUE = _Tuple(0, 1)
"""Anything but a tuple: lists and mappings cannot be hashed, so what they hold does not matter."""
_FUNCTION = _Tuple(0, 1)
"""What a name in the pickle stands for; whether it may be called is torch's to decide."""
_CONSTRUCTOR = _Tuple(0, 1)
"""A class that takes sizes; a checkpoint names it, but has tensors made by torch's own functions."""
_PERSISTENT = _Tuple(0, 1)
"""What lies outside the pickle: a storage, or, in old files of whole networks, a class."""
_CONSTRUCTORS = re.compile(r"(builtins|__builtin__) bytearray|torch[\w.]* \w*(Tensor|Storage)")
_PUSHED = frozenset(
    name
    for name in (opcode.name for opcode in pickletools.opcodes)
    if re.fullmatch(
        "NONE|NEW(TRUE|FALSE)|BININT[12]?|LONG1|BINFLOAT|BINUNICODE|SHORT_BINSTRING|EMPTY_(DICT|LIST|SET)", name
    )
)
"""Instructions that add one plain object."""
_POPPED = {"APPEND": 1, "BUILD": 1, "REDUCE": 1, "NEWOBJ": 1, "SETITEM": 2}
"""What stays of these is the object that they change or replace."""
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def check_pickle(file: IO[bytes]) -> None:
    """Follow one pickle from where ``file`` stands to behind its end.

    Raises :class:`CraftedPickleError`, and :class:`pickle.UnpicklingError` for an instruction that torch's unpickler
    does not know. Other errors mean that the pickle is damaged.
    """
    stack: list[_Tuple] = []
    marks: list[int] = []
    memo: dict[int, _Tuple] = {}
    hashed = 0

    def popped(count: int) -> list[_Tuple]:
        items = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        name, number = opcode.name, cast(int, argument)
        if name in _PUSHED:
            stack.append(_VALUE)
        elif name == "GLOBAL":
            stack.append(_CONSTRUCTOR if _CONSTRUCTORS.fullmatch(str(argument)) else _FUNCTION)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[number] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[number])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in _TUPLES or name == "TUPLE":
            items = popped(_TUPLES[name] if name in _TUPLES else len(stack) - marks.pop())
            stack.append(_joined(items))
        elif name in ("APPENDS", "SETITEMS"):
            items = popped(len(stack) - marks.pop())
            hashed += sum(key.values for key in items[::2]) if name == "SETITEMS" else 0
        elif name in _POPPED:
            items = popped(_POPPED[name])
            hashed += items[0].values if name == "SETITEM" else 0
            if name in ("REDUCE", "NEWOBJ"):
                _check_call(stack.pop())
                stack.append(_VALUE)
        elif name == "BINPERSID":
            stack[-1] = _PERSISTENT
        elif name not in ("PROTO", "STOP"):
            raise pickle.UnpicklingError(f"Unsupported operand {name}")
        if hashed > MAX_VALUES:
            raise CraftedPickleError("repeats keys without end")


def _check_call(called: _Tuple) -> None:
    if called is _PERSISTENT:
        raise pickle.UnpicklingError("a class stored with its source would execute code")
    if called is not _FUNCTION:
        what = "a constructor that takes sizes" if called is _CONSTRUCTOR else "what is no function"
        raise CraftedPickleError(f"calls {what}")


def _joined(items: list[_Tuple]) -> _Tuple:
    depth = 1 + max((item.depth for item in items), default=0)
    values = 1 + sum(item.values for item in items)
    if depth > MAX_DEPTH or values > MAX_VALUES:
        raise CraftedPickleError("nests tuples without end")
    return _Tuple(depth, values)
