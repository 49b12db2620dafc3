"""Passes of a network over parts of the images, side by side: each waits at every layer until all have come to it.

Every pass has a thread of its own, as that is what a network's forward pass can be stopped in; one runs at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from calibration.shelf import Shelf

_STACK = 16 << 20
"""Bytes of address space that a thread has for nested calls: some systems give it far less than the first one."""

Run = TypeVar("Run", bound=Callable[[], object])
Value = TypeVar("Value")


class Lockstep(Generic[Run, Value]):
    """Functions that call :meth:`wait` where they wait for one another.

    Tensors that they make are kept on a :class:`~calibration.shelf.Shelf`.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._turn: _Turns[Run, Value] | None = None

    @property
    def running(self) -> Run:
        """The function whose turn it is."""
        assert self._turn is not None
        return self._turn.function

    def run(self, functions: Sequence[Run], meet: Callable[[str, Sequence[Value]], None]) -> None:
        """Run all ``functions``. Whenever each of them waits or has returned, ``meet`` gets the place at which the
        first one waits, and what those at that place wait with, in their order; then these go on.

        Raises what a function raises, or ``meet``.
        """
        usual = threading.stack_size(_STACK)  # of the threads to come
        going: list[_Turns[Run, Value]] = [_Turns(each, self._shelf) for each in functions]
        threading.stack_size(usual)
        try:
            going = [each for each in going if self._goes_on(each)]
            while going:
                there = [each for each in going if each.place == going[0].place]
                meet(there[0].place, _Values(there, self._shelf))
                going = [each for each in going if each not in there or self._goes_on(each)]
        finally:
            for each in going:
                each.abandon()

    def wait(self, place: str, value: Value) -> None:
        """Called by a function: wait at ``place`` until all others wait or have returned."""
        assert self._turn is not None
        self._turn.wait(place, value)

    def _goes_on(self, turns: _Turns[Run, Value]) -> bool:
        self._turn = turns
        return turns.take()


class _Values(Sequence[Value]):
    """What functions wait with. Tensors that were on file go back there once the next is asked for."""

    def __init__(self, waiting: Sequence[_Turns[Run, Value]], shelf: Shelf) -> None:
        self._waiting = waiting
        self._shelf = shelf

    def __len__(self) -> int:
        return len(self._waiting)

    def __getitem__(self, index: int) -> Value:  # type: ignore[override]
        self._shelf.tidy()
        value = self._waiting[index].value
        assert value is not None
        self._shelf.fetch(value)
        return value


class _Abandoned(BaseException):
    """Ends a function that nobody waits for any more."""


class _Turns(Generic[Run, Value]):
    """A function in a thread of its own, which works while somebody waits in :meth:`take`."""

    def __init__(self, function: Run, shelf: Shelf) -> None:
        self.function = function
        self.place = ""
        """Where the function waits; "" while it does not."""
        self.value: Value | None = None
        self._shelf = shelf
        self._begin, self._end = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def take(self) -> bool:
        """Go on until the function waits; False where it has returned instead. Raises what it raises."""
        self._begin.release()
        self._end.acquire()
        if self._error is not None:
            raise self._error
        return bool(self.place)

    def wait(self, place: str, value: Value) -> None:
        """Called by the function: let the others go on."""
        self._shelf.tidy()
        self.place, self.value = place, value
        self._end.release()
        self._begin.acquire()
        self.place, self.value = "", None
        if self._abandoned:
            raise _Abandoned

    def abandon(self) -> None:
        """End the function where it waits next."""
        self._abandoned = True
        self._begin.release()

    def _work(self) -> None:
        self._begin.acquire()
        try:
            # Not inference_mode, whose tensors networks of the user's own may not be able to change in place.
            with torch.no_grad(), self._shelf:
                if not self._abandoned:
                    self.function()
        except _Abandoned:
            pass
        except BaseException as error:
            self._error = error
        self._end.release()
