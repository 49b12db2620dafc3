"""How a training run is carried out: where its state lies, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfsq import distributed, limits
from dfsq.errors import UsageError
from dfsq.plurals import counted


@dataclass(frozen=True)
class Sitting:
    """What is not in a recipe. None of it changes what a number of steps gives."""

    state: Path | None = None
    """File from which an interrupted run goes on; None: nothing is kept."""
    resume: bool = True
    """Go on from ``state`` where it is there; otherwise it is replaced."""
    minutes: float | None = None
    """Take as many steps as fit into so many minutes, by the time that some take, in the place of the recipe's usual
    number; None: those of the recipe."""
    note: Callable[[str], None] = lambda _: None
    """Told what the user should know, a line each."""

    def __post_init__(self) -> None:
        if self.minutes is not None and not limits.MINUTES.allow(self.minutes):
            raise UsageError(f"`minutes` is {self.minutes}; choose {limits.MINUTES}")

    def steps_that_fit(self, seconds_per_step: float, seconds_besides: float) -> int:
        """How many steps fit into the minutes, in three figures; at least ten."""
        assert self.minutes is not None
        left = 60 * self.minutes - max(distributed.gather(seconds_besides))
        steps = max(10, int(left / seconds_per_step))
        unit = int(10 ** max(0, len(str(steps)) - 3))
        steps = steps // unit * unit
        self.note(f"{self.minutes:g} minutes are about {counted(steps, 'step')} here")
        return steps
