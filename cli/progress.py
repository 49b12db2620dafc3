"""Progress on stderr: bars on a terminal, elsewhere a line every few seconds of a long run."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from cli.console import console
from dfsq import distributed
from dfsq.printable import printable

EVERY = 10.0
"""Seconds between lines where there is no terminal; runs that are shorter print none."""

Report = Callable[..., None]
"""Called with what is being done, steps done, steps in all, figures that change, and the share of the work done."""


@contextmanager
def progress(quiet: bool) -> Iterator[Report]:
    """Yield ``report(what, done, total, detail="", share=None)``, which tells how far ``what`` is."""
    if quiet or not distributed.is_main():
        yield lambda what, done, total, detail="", share=None: None
    elif sys.stderr.isatty():
        with _bars(time.monotonic) as bars:
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
        self._began = (0.0, 0.0)

    def __call__(self, what: str, done: int, total: int, detail: str = "", share: float | None = None) -> None:
        """Print a line if the last one is old enough."""
        now, share = self._clock(), _share(done, total, share)
        if what != self._what:
            self._what, self._began = what, (now, share)
        if now - self._printed < EVERY:
            return
        self._printed = now
        parts = [f"{what} {done} of {total}" if total else what, detail, self._left(now, share)]
        console(stderr=True).print(printable(", ".join(part for part in parts if part)))

    def _left(self, now: float, share: float) -> str:
        began, first = self._began
        if not first < share < 1:
            return ""
        seconds = round((now - began) / (share - first) * (1 - share))
        return f"{timedelta(seconds=seconds)} left"


def _share(done: int, total: int, share: float | None) -> float:
    """Of the work done, where ``share`` does not tell: all steps are alike."""
    return share if share is not None else done / total if total else 0.0


def _bars(clock: Callable[[], float]) -> Bars:
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    # All of a run counts: a step may take longer than the seconds by which rich judges how fast it is.
    return Bars(*columns, console=console(stderr=True), get_time=clock, speed_estimate_period=math.inf)


def _on_terminal(bars: Bars) -> Report:
    tasks = {}

    def report(what: str, done: int, total: int, detail: str = "", share: float | None = None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(printable(what), total=1.0 if total else None, detail="", steps="")
        steps = f"{done:>{len(str(total))}}/{total}" if total else ""
        bars.update(
            tasks[what],
            completed=_share(done, total, share),
            total=1.0 if total else None,
            detail=printable(detail),
            steps=steps,
        )

    return report
