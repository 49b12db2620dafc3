"""Passes of a network over parts of the images, side by side: each waits at every layer until all have come to it.

Every pass has a thread of its own, as that is what a network's forward pass can be stopped in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from calibration.shelf import Shelf
from calibration.workers import Workers
from dfsq.errors import DfsqError

_STACK = 16 << 20
"""Bytes of address space that a thread has for nested calls: some systems give it far less than the first one."""

Run = TypeVar("Run", bound=Callable[[], object])
Value = TypeVar("Value")


class Lockstep(Generic[Run, Value]):
    """Functions that call :meth:`wait` where they wait for one another.

    Tensors that they make are kept on a :class:`~calibration.shelf.Shelf`.
    """

    def __init__(self, shelf: Shelf, workers: Workers) -> None:
        """As many functions work at a time as there are ``workers``."""
        self._shelf = shelf
        self._workers = workers
        self._own = threading.local()

    @property
    def running(self) -> Run:
        """The function that asks."""
        return self._turns.function

    def run(self, functions: Sequence[Run], meet: Callable[[str, Sequence[Value]], None]) -> None:
        """Run all ``functions``. Whenever each of them waits or has returned, ``meet`` gets the place at which the
        first one waits, and what those at that place wait with, in their order; then these go on.

        Raises what a function raises, or ``meet``, and :class:`~dfsq.errors.DfsqError` where the system has no thread
        for each.
        """
        going: list[_Turns[Run, Value]] = []
        try:
            self._start(functions, going)
            going = self._those_that_wait(going, going)
            while going:
                there = [each for each in going if each.place == going[0].place]
                meet(there[0].place, _Values(there, self._shelf))
                going = self._those_that_wait(going, there)
        finally:
            for each in going:
                each.abandon()

    def wait(self, place: str, value: Value) -> None:
        """Called by a function: wait at ``place`` until all others wait or have returned."""
        self._turns.wait(place, value)

    def _start(self, functions: Sequence[Run], going: list[_Turns[Run, Value]]) -> None:
        """Add a thread for each of ``functions`` to those ``going``."""
        usual = threading.stack_size(_STACK)  # of the threads to come
        try:
            for each in functions:
                going.append(_Turns(each, self._begin))
        except RuntimeError as error:
            raise DfsqError(
                f"of {len(functions)} threads, one for each batch of patches, the system starts {len(going)}; use "
                "fewer `patches`"
            ) from error
        finally:
            threading.stack_size(usual)

    @property
    def _turns(self) -> _Turns[Run, Value]:
        found: _Turns[Run, Value] = self._own.turns
        return found

    def _begin(self, turns: _Turns[Run, Value]) -> None:
        self._own.turns = turns
        # Not inference_mode, whose tensors networks of the user's own may not be able to change in place.
        with torch.no_grad(), self._shelf, self._workers.worker():
            turns.function()

    def _those_that_wait(
        self, going: Sequence[_Turns[Run, Value]], there: Sequence[_Turns[Run, Value]]
    ) -> list[_Turns[Run, Value]]:
        """Those ``going`` that wait once those ``there`` have gone on."""
        for first in range(0, len(there), self._workers.count):
            some = there[first : first + self._workers.count]
            for each in some:
                each.go_on()
            for each in some:
                each.pause()
            self._shelf.tidy()
        return [each for each in going if not each.has_returned()]


class _Values(Sequence[Value]):
    """What functions wait with, whether in memory or on file."""

    def __init__(self, waiting: Sequence[_Turns[Run, Value]], shelf: Shelf) -> None:
        self._waiting = waiting
        self._shelf = shelf

    def __len__(self) -> int:
        return len(self._waiting)

    def __getitem__(self, index: int) -> Value:  # type: ignore[override]
        value = self._waiting[index].value
        assert value is not None
        found: Value = self._shelf.read(value)
        return found


class _Abandoned(BaseException):
    """Ends a function that nobody waits for any more."""


class _Turns(Generic[Run, Value]):
    """A function in a thread of its own, which works from :meth:`go_on` to the end of :meth:`pause`."""

    def __init__(self, function: Run, work: Callable[[_Turns[Run, Value]], None]) -> None:
        self.function = function
        self.place = ""
        """Where the function waits; "" while it does not."""
        self.value: Value | None = None
        self._begin, self._end = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._abandoned = False
        self._thread = threading.Thread(target=self._work, args=(work,), daemon=True)
        self._thread.start()

    def go_on(self) -> None:
        """Let the function work."""
        self._begin.release()

    def pause(self) -> None:
        """Until the function waits, or ends."""
        self._end.acquire()

    def has_returned(self) -> bool:
        """Whether the function waits no more. Raises what it has raised."""
        if self._error is not None:
            raise self._error
        return not self.place

    def wait(self, place: str, value: Value) -> None:
        """Called by the function: let the others go on."""
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

    def _work(self, work: Callable[[_Turns[Run, Value]], None]) -> None:
        self._begin.acquire()
        try:
            if not self._abandoned:
                work(self)
        except _Abandoned:
            pass
        except BaseException as error:
            self._error = error
        self._end.release()
