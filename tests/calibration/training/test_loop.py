"""The loop on a network of one layer: what is kept, what a run goes on from, and what it refuses."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calibration.progress import silent
from calibration.training.crops import Crops
from calibration.training.loop import Outcome, seconds_per_step, train
from calibration.training.schedule import Cosine, Group
from calibration.training.state import Store
from dfsq.errors import OutputError, UsageError
from dfsq.model import SRModel

STEPS = 40


class Toy:
    """Learns to brighten by a factor; with batch normalization, whose statistics change without an optimizer."""

    def __init__(self, rate: float = 0.05) -> None:
        torch.manual_seed(5)
        self.module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
        self.groups: Sequence[Group] = [Group(list(self.module.parameters()), Cosine(rate, STEPS, 3))]
        self.longest: float | None = 2.0
        self.worst: float | None = None
        self.stop_at: int | None = None
        self.signal = signal.SIGTERM

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        if step == self.stop_at:
            os.kill(os.getpid(), self.signal)
        return (self.module(lr) - 2 * lr).abs().mean()

    def frozen(self) -> SRModel:
        return self.module  # type: ignore[return-value]

    def bytes(self) -> list[bytes]:
        return [each.numpy().tobytes() for each in self.module.state_dict().values()]


class Judge:
    """Stands for the images set aside."""

    def __init__(self, drops: Sequence[float] | None = None) -> None:
        self.drops = iter(drops) if drops is not None else None

    def drop(self, model: nn.Module) -> float:
        if self.drops is not None:
            return next(self.drops)
        return sum(each.double().abs().sum().item() for each in model.parameters())


def crops() -> Crops:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return Crops([image], scale=2, size=8, batch=4, seed=1, is_lr=True, progress=silent)


def run(toy: Toy, store: Store | None = None, judge: Judge | None = None) -> Outcome:
    return train(toy, crops(), STEPS, judge or Judge(), store, silent)  # type: ignore[arg-type]


def test_the_start_every_tenth_and_the_end_are_scored_and_the_best_is_kept() -> None:
    drops = [5.0, 4.0, 3.0, 2.0, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    toy = Toy()
    outcome = run(toy, judge=Judge(drops))
    assert list(outcome.scores) == list(range(0, STEPS + 1, STEPS // 10))
    assert outcome.best == 12  # the first of equals
    short = Toy()
    best_at_the_end = Judge([11.0, *range(10, 0, -1)])
    assert run(short, judge=best_at_the_end).best == STEPS
    assert toy.bytes() != short.bytes()


def test_a_run_that_only_does_harm_gives_its_start() -> None:
    toy, before = Toy(), Toy().bytes()
    assert run(toy, judge=Judge(range(11))).best == 0
    assert toy.bytes() == before


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stop_at", [0, 3, 4, 17, STEPS - 1])
@pytest.mark.parametrize("worst", [None, 1.5])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    tmp_path: Path, stop_at: int, kind: signal.Signals, worst: float | None
) -> None:
    drops = [3.0, 9.0, 2.0, 9.0, 9.0, 1.0, 9.0, 1.0, 9.0, 0.5, 0.4]
    whole = Toy()
    whole.worst = worst
    expected = run(whole, judge=Judge(drops))
    store = Store(tmp_path / "state", {"recipe": {"steps": STEPS}})
    broken = Toy()
    broken.worst = worst
    broken.stop_at, broken.signal = stop_at, kind
    with handled(kind), pytest.raises(Stopped):
        run(broken, store, Judge(drops))
    state = store.load()
    assert state is not None and state.step == stop_at + 1  # the step was finished
    assert (state.pace < 1) == (worst is not None and stop_at >= 4)
    again = Toy()
    again.worst = worst
    assert run(again, store, Judge(drops[len(state.scores) :])) == expected
    assert again.bytes() == whole.bytes()


def test_what_leads_nowhere_is_gone_back_on_and_gone_about_more_slowly() -> None:
    class Watched(Toy):
        def __init__(self) -> None:
            super().__init__()
            self.worst = 1.5
            self.seen: dict[int, list[Tensor]] = {}

        def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
            self.seen[step] = [each.detach().clone() for each in self.module.parameters()]
            return super().loss(step, lr, hr)

        def at(self, step: int) -> bytes:
            return b"".join(each.numpy().tobytes() for each in self.seen[step])

        def longest_move(self, step: int) -> float:
            pairs = zip(self.seen[step], self.seen[step + 1], strict=True)
            return max(float((after - before).abs().max()) for before, after in pairs)

    toy = Watched()
    run(toy, judge=Judge([3.0, 2.0, 2.9, 3.1, 2.0, 1.9, *[9.0] * 5]))
    assert toy.at(8) not in (toy.at(4), toy.at(0))  # 2.9 is within 1.5 times 2
    assert toy.at(12) == toy.at(4)  # 3.1 is not
    assert toy.at(24) == toy.at(28) == toy.at(20)
    rate = toy.groups[0].rate
    # Adam's first step is as long as its rate; it is the first again each time.
    assert toy.longest_move(12) == pytest.approx(rate(12) / 2, rel=1e-3)
    assert toy.longest_move(24) == pytest.approx(rate(24) / 4, rel=1e-3)


@pytest.mark.parametrize(("drop", "paces"), [(5.9, 1.0), (6.1, 0.5), (float("inf"), 0.5)])
def test_what_keeps_half_of_what_was_won_may_go_on(tmp_path: Path, drop: float, paces: float) -> None:
    toy = Toy()
    toy.worst, toy.stop_at = 1.5, 13
    store = Store(tmp_path / "state", {"recipe": {"steps": STEPS}})
    with handled(toy.signal), pytest.raises(Stopped):
        run(toy, store, Judge([10.0, 2.0, 3.0, drop]))
    state = store.load()
    assert state is not None and state.pace == paces


class Stopped(BaseException):
    pass


class handled:  # noqa: N801
    """A handler that raises, as the command line's does."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __enter__(self) -> None:
        def stop(number: int, frame: object) -> None:
            raise Stopped

        self.before = signal.signal(self.number, stop)

    def __exit__(self, *_: object) -> None:
        assert signal.getsignal(self.number) is not self.before  # what was there before training is back
        signal.signal(self.number, self.before)


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    toy = Toy()
    toy.stop_at = 2
    identity = {"recipe": {"steps": STEPS}, "source": "a", "images": "b"}
    with handled(signal.SIGTERM), pytest.raises(Stopped):
        run(toy, Store(path, identity))
    for part, value in (("recipe", {"steps": 9}), ("source", "c"), ("images", "d")):
        with pytest.raises(UsageError, match=f"another {part}; start anew"):
            run(Toy(), Store(path, {**identity, part: value}))


def test_what_is_no_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    store = Store(path, {"recipe": {}})
    toy = Toy()
    toy.stop_at = 2
    with handled(signal.SIGTERM), pytest.raises(Stopped):
        run(toy, store)
    whole = path.read_bytes()
    for content in (b"", b"x", b"\xff" * 64, whole[:50], whole[:-7], b"\x02" + bytes(7) + b"{}"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="is no state of a training run"):
            store.load()
    store.remove()
    assert store.load() is None


def test_timing_leaves_no_trace() -> None:
    toy, before = Toy(), Toy().bytes()
    assert seconds_per_step(toy, crops()) > 0
    assert toy.bytes() == before


def test_training_reaches_what_can_be_reached() -> None:
    toy = Toy(rate=0.2)
    lr, _ = crops().of_step(99)
    start = toy.loss(-1, lr, None).item()
    run(toy, judge=Judge(range(11, 0, -1)))
    assert toy.loss(-1, lr, None).item() < 0.5 * start


def test_one_step_that_goes_wrong_does_not_stop_those_that_follow() -> None:
    class Shaken(Toy):
        def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
            return super().loss(step, lr, hr) * (1e4 if step == 8 else 1)

    def left(toy: Toy, longest: float | None = 2.0) -> float:
        toy.longest = longest
        run(toy, judge=Judge([11.0, *range(10, 0, -1)]))
        lr, _ = crops().of_step(STEPS)
        with torch.no_grad():
            return float(toy.loss(-1, lr, None))

    start = float(Toy().loss(-1, crops().of_step(STEPS)[0], None).detach())
    calm, shaken = left(Toy()), left(Shaken())
    assert calm < 0.8 * start
    assert shaken < calm + 0.1 * (start - calm)
    assert left(Shaken(), None) > shaken + 0.3 * (start - calm)  # a method that shortens none has it as published


class Broken(Toy):
    """Makes nothing of the crops of step 8, whose pass spoils statistics too."""

    def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        return super().loss(step, lr * float("nan") if step == 8 else lr, hr)


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    toy = Broken()
    seen: dict[int, list[bytes]] = {}
    loss = toy.loss

    def watched(step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
        seen[step] = [each.detach().numpy().tobytes() for each in toy.module.parameters()]
        return loss(step, lr, hr)

    toy.loss = watched  # type: ignore[method-assign]
    run(toy, judge=Judge([11.0, *range(10, 0, -1)]))
    assert seen[8] == seen[9] != seen[10]
    assert all(each.isfinite().all() for each in toy.module.state_dict().values())
    calm = Toy()
    run(calm, judge=Judge([11.0, *range(10, 0, -1)]))
    lr, _ = crops().of_step(STEPS)
    with torch.no_grad():
        start, broken, usual = (float(each.loss(-1, lr, None)) for each in (Toy(), toy, calm))
    assert broken < usual + 0.1 * (start - usual)


def test_a_run_goes_on_from_where_a_step_was_not_finite(tmp_path: Path) -> None:
    drops = [11.0, *range(10, 0, -1)]
    whole = Broken()
    run(whole, judge=Judge(drops))
    store = Store(tmp_path / "state", {})
    stopped = Broken()
    stopped.stop_at = 8
    with handled(signal.SIGTERM), pytest.raises(Stopped):
        run(stopped, store, Judge(drops))
    again = Broken()
    run(again, store, Judge(drops[3:]))
    assert again.bytes() == whole.bytes()


def test_what_no_model_can_be_made_of_is_gone_back_on() -> None:
    class Unfit(Toy):
        """Can be stored at the start, and again from step 12 on."""

        def __init__(self) -> None:
            super().__init__()
            self.now = 0
            self.seen: dict[int, bytes] = {}

        def loss(self, step: int, lr: Tensor, hr: Tensor | None) -> Tensor:
            self.now = step + 1
            self.seen[step] = self.bytes()[0]
            return super().loss(step, lr, hr)

        def frozen(self) -> SRModel:
            if 0 < self.now < 12:
                raise ValueError("bounds must ascend")
            return super().frozen()

    toy = Unfit()
    outcome = run(toy, judge=Judge([5.0, 4.0, float("inf"), *[9.0] * 6]))
    assert [step for step, drop in outcome.scores.items() if drop == float("inf")] == [4, 8, 16]
    assert toy.seen[4] == toy.seen[8] == toy.seen[0]
    assert toy.seen[16] == toy.seen[12] != toy.seen[0]  # the best by then
    assert outcome.best == 12


def test_a_start_that_makes_nothing_of_images_is_told_at_once() -> None:
    with pytest.raises(OutputError, match="makes nothing of images"):
        run(Toy(), judge=Judge([float("inf")]))
