"""Signals that end a process, held back until what is being computed is whole."""

from __future__ import annotations

import signal
import threading
from types import TracebackType


class Held:
    """Holds back SIGINT and SIGTERM inside a ``with`` block, and lets them act when it ends.

    Only the main thread can; elsewhere nothing is held.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        """The signal that has come."""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Held:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self.pending is not None and kind is None:
            signal.raise_signal(self.pending)

    def _note(self, number: int, _frame: object) -> None:
        self.pending = number
