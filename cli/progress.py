"""Progress on stderr: bars on a terminal, elsewhere a line every few seconds of a long run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from cli.console import console
from dfsq import distributed
from dfsq.printable import printable

EVERY = 10.0
"""Seconds between lines where there is no terminal; runs that are shorter print none."""

Report = Callable[..., None]
"""Called with what is being done, steps done, steps in all, and figures that change."""


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """Yield ``report(what, done, total, detail="")``, which tells how far ``what`` is."""
    if quiet or not distributed.is_main():
        yield lambda what, done, total, detail="": None
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _on_terminal(bars)
    else:
        yield Lines(time.monotonic)


class Lines:
    """Prints how far a run is, now and then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: seconds since whenever."""
        self._clock = clock
        self._printed = clock()
        self._what = ""
        self._began = (0.0, 0)

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None:
        """Print a line if the last one is old enough."""
        now = self._clock()
        if what != self._what:
            self._what, self._began = what, (now, done)
        if now - self._printed < EVERY:
            return
        self._printed = now
        parts = [f"{what} {done} of {total}" if total else what, detail, self._left(now, done, total)]
        console(stderr=True).print(printable(", ".join(part for part in parts if part)))

    def _left(self, now: float, done: int, total: int) -> str:
        began, first = self._began
        if not first < done < total:
            return ""
        seconds = round((now - began) / (done - first) * (total - done))
        return f"{timedelta(seconds=seconds)} left"


def _bars() -> Bars:
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    return Bars(*columns, console=console(stderr=True))


def _on_terminal(bars: Bars) -> Report:
    tasks = {}

    def report(what: str, done: int, total: int, detail: str = "") -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(printable(what), total=total or None, detail="")
        bars.update(tasks[what], completed=done, total=total or None, detail=printable(detail))

    return report
