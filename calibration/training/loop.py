"""The loop: steps of Adam, scores on images set aside, and a state to go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from calibration.progress import Progress
from calibration.training.crops import Crops
from calibration.training.guard import Guard
from calibration.training.interrupts import Held
from calibration.training.schedule import Group
from calibration.training.state import REMEDY, State, Store
from dfsq import distributed
from dfsq.errors import OutputError, UsageError
from dfsq.model import SRModel
from dfsq.plurals import counted

SCORES = 10
"""How often a run is scored after its start."""
_SAVE_EVERY = 120.0
"""Seconds between states that are written."""
_SMOOTHING = 0.02
"""Share of the newest step in the loss that is shown, and in the usual length of gradients."""
_NEGLIGIBLE = 0.01
"""Differences of scores that tell nothing, dB."""
_TIMED = 8
"""Steps that tell how long all will take, after as many that do not count."""


class Trainable(Protocol):
    """What a method trains."""

    module: SRModel
    """Holds all parameters and buffers that change."""
    groups: list[Group]
    longest: float | None
    """What a gradient that is longer is shortened to, as a multiple of the length of those of late; None: not."""
    worst: float | None
    """A score that is worse than so many times the best, and has lost more than half of what the best won, leads
    nowhere: from there on the best at half the rates; None: one that is not finite does."""

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        """A scalar, mean over the samples: ``lr`` ``(N, 3, h, w)`` and ``hr`` ``(N, 3, H, W)`` in 0–1."""
        ...

    def frozen(self) -> SRModel:
        """The quantized model that the module is now."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    scores: Mapping[int, float]
    """Drop on the images set aside, dB, by step; 0 is the start."""

    @property
    def best(self) -> int:
        """The step with the least drop, the first of equals: its model is the result."""
        return min(self.scores, key=lambda step: (self.scores[step], step))


def train(
    trainable: Trainable, crops: Crops, steps: int, guard: Guard, store: Store | None, progress: Progress
) -> Outcome:
    """Train for ``steps``, from the state in ``store`` if there is one; leaves the best in ``trainable``.

    The start, every tenth of the steps and the end are scored by ``guard``: the result is never worse there than the
    start. A step whose loss or gradients are not finite changes nothing. The same crops, processes and threads give the
    same bytes, in one go or in several. Raises what ``store`` raises, and :class:`OutputError` for a start that makes
    nothing of the images set aside.
    """
    run = _Run(trainable, crops, steps)
    if store is not None and (state := store.load()) is not None:
        if state.steps != steps:
            raise UsageError(
                f"{store.path} is the state of another run: of {counted(state.steps, 'step')}, here {steps}; {REMEDY}"
            )
        run.restore(state)
    marks = {round(steps * tenth / SCORES) for tenth in range(SCORES + 1)}
    saved = time.monotonic()
    while True:
        if run.step in marks and run.step not in run.scores:
            run.note(_drop(trainable, guard))
        if run.step >= steps:
            break
        with Held() as signals:  # up to the next score, before which a state is written
            ends = False
            while not ends:
                ends = run.advance(signals) or run.step in marks
                if store is not None and (ends or time.monotonic() - saved > _SAVE_EVERY):
                    store.save(run.state())
                    saved = time.monotonic()
                progress("Training", run.step, steps, run.described())
    outcome = Outcome(run.scores)
    trainable.module.load_state_dict(run.best)
    return outcome


def seconds_per_step(trainable: Trainable, crops: Crops) -> float:
    """How long a step takes here; ``trainable`` is afterwards what it was before."""
    before = {name: tensor.clone() for name, tensor in trainable.module.state_dict().items()}
    run = _Run(trainable, crops, 1)
    for _ in range(_TIMED):
        run.advance()
    began = time.monotonic()
    for _ in range(_TIMED):
        run.advance()
    elapsed = (time.monotonic() - began) / _TIMED
    trainable.module.load_state_dict(before)
    return max(distributed.gather(elapsed))


def _drop(trainable: Trainable, guard: Guard) -> float:
    """What is lost now; infinite where no model can be made of the module."""
    try:
        model = trainable.frozen()
    except ValueError:  # what is stored has limits, which an optimizer does not know
        return math.inf
    return guard.drop(model)


class _Run:
    """The module, the optimizer and the best so far."""

    def __init__(self, trainable: Trainable, crops: Crops, steps: int) -> None:
        self.step = 0
        self.scores: dict[int, float] = {}
        self.best: dict[str, Tensor] = {}
        self._trainable = trainable
        self._crops = crops
        self._steps = steps
        self._losses: tuple[float, float] | None = None
        self._length: float | None = None
        self._pace = 1.0
        self._groups = trainable.groups
        self._parameters = [each for group in self._groups for each in group.parameters]
        self._optimizer = torch.optim.Adam([{"params": list(each.parameters)} for each in self._groups], foreach=True)

    def advance(self, signals: Held | None = None) -> bool:
        """One step; whether any process has ``signals`` pending, on which all agree: the first writes the state before
        another is lost."""
        for group, settings in zip(self._groups, self._optimizer.param_groups, strict=True):
            settings["lr"] = self._pace * group.rate(min(self.step, self._steps - 1))
        lr, hr = self._crops.of_step(self.step)
        self._optimizer.zero_grad()
        loss = self._trainable.loss(self.step, lr, hr) * (len(lr) / self._crops.batch)
        loss.backward()  # type: ignore[no-untyped-call]
        reached = [each for each in self._parameters if each.grad is not None]
        gradient = distributed.total(torch.cat([each.grad.flatten() for each in reached if each.grad is not None]))
        length = float(gradient.norm())
        pending = loss.new_tensor(signals is not None and signals.pending is not None)
        whole, asked = distributed.total(torch.stack((loss.detach(), pending))).tolist()
        self.step += 1
        if not (math.isfinite(length) and math.isfinite(whole)):  # in all processes alike
            self._mend()
            return bool(asked)
        parts = torch.split(self._shortened(gradient, length), [each.numel() for each in reached])
        for parameter, part in zip(reached, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        self._optimizer.step()
        self._note_loss(whole)
        return bool(asked)

    def _mend(self) -> None:
        """Put statistics right that a pass has spoilt whose loss is not finite: no later one would."""
        for name, each in self._trainable.module.named_buffers():
            if name in self.best and each.is_floating_point() and not each.isfinite().all():
                each.copy_(self.best[name])

    def _shortened(self, gradient: Tensor, length: float) -> Tensor:
        """``gradient``, which has that ``length``, no longer than those of late allow."""
        longest = self._trainable.longest
        if longest is None:
            return gradient
        usual = length if self._length is None else self._length
        most = min(length, longest * usual)
        self._length = usual + _SMOOTHING * (most - usual)
        return gradient * (most / length) if length > most else gradient

    def _note_loss(self, loss: float) -> None:
        first, late = self._losses or (loss, loss)
        if self.step <= 1 / _SMOOTHING:
            first += (loss - first) / self.step
        self._losses = first, late + (loss - late) * max(_SMOOTHING, 1 / self.step)

    def described(self) -> str:
        """The loss, and that of the first steps."""
        first, late = self._losses or (0.0, 0.0)
        return f"loss {late:.5f}, {first:.5f} at the start"

    def note(self, drop: float) -> None:
        """Keep the score of the module as it is now, and the module where it is the best; where it leads nowhere, go
        on from the best."""
        if not self.scores and not math.isfinite(drop):
            raise OutputError("the quantized network that training starts from makes nothing of images; take more bits")
        if drop < min(self.scores.values(), default=math.inf):
            self.best = {name: tensor.clone() for name, tensor in self._trainable.module.state_dict().items()}
        elif self._leads_nowhere(drop):
            self._trainable.module.load_state_dict(self.best)
            self._optimizer.state.clear()
            self._length = None
            self._pace /= 2
        self.scores[self.step] = drop

    def _leads_nowhere(self, drop: float) -> bool:
        if not math.isfinite(drop) or self._trainable.worst is None:
            return not math.isfinite(drop)
        start, best = self.scores[0], min(self.scores.values())
        return drop > max(self._trainable.worst * best, (start + best) / 2) + _NEGLIGIBLE

    def state(self) -> State:
        """All that :meth:`restore` needs."""
        tensors = {f"module.{name}": each for name, each in self._trainable.module.state_dict().items()}
        tensors |= {f"best.{name}": each for name, each in self.best.items()}
        for index, parameter in enumerate(self._parameters):
            for name, each in self._optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{index}.{name}"] = each
        return State(self.step, self._steps, tensors, dict(self.scores), self._losses, self._length, self._pace)

    def restore(self, state: State) -> None:
        """Go on from ``state``."""

        def named(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): each for name, each in state.tensors.items() if name.startswith(prefix)}

        self._trainable.module.load_state_dict(named("module."))
        self.best = named("best.")
        for index, parameter in enumerate(self._parameters):
            if found := named(f"adam.{index}."):
                self._optimizer.state[parameter] = {
                    name: each if name == "step" else each.to(parameter.device) for name, each in found.items()
                }
        self.step, self.scores, self._losses = state.step, dict(state.scores), state.losses
        self._length, self._pace = state.length, state.pace
