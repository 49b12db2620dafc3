"""Functions that wait for one another: who meets whom, in what order, and how it ends."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from calibration.lockstep import Lockstep
from calibration.shelf import Shelf
from calibration.workers import Workers
from dfsq.errors import DfsqError


@pytest.fixture(params=[1, 3], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Of torch: as many functions as that work at a time."""
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(usual)


def lockstep(limit: int = 1 << 30) -> Lockstep:
    return Lockstep(Shelf(limit), Workers(torch.device("cpu")))


def run(functions: Sequence[Callable[[Lockstep], object]]) -> list[tuple[str, list[int]]]:
    """Places and values of all meetings."""
    steps = lockstep()
    met: list[tuple[str, list[int]]] = []
    steps.run(
        [lambda each=each: each(steps) for each in functions], lambda place, values: met.append((place, [*values]))
    )
    return met


def visits(*places: str, value: int = 0) -> Callable[[Lockstep], object]:
    def function(steps: Lockstep) -> None:
        for index, place in enumerate(places):
            steps.wait(place, value + index)

    return function


def test_all_meet_at_every_place() -> None:
    assert run([visits("a", "b", value=10 * each) for each in range(3)]) == [("a", [0, 10, 20]), ("b", [1, 11, 21])]


def test_whoever_goes_elsewhere_is_waited_for_no_more() -> None:
    met = run([visits("a", "c"), visits("b", "c", value=10), visits("a", value=20)])
    assert met == [("a", [0, 20]), ("c", [1]), ("b", [10]), ("c", [11])]


def test_nobody_waits() -> None:
    assert run([visits(), visits()]) == []


def test_as_many_work_at_a_time_as_there_are_threads(threads: int) -> None:
    at_work: list[int] = []
    most = 0

    def function(steps: Lockstep) -> None:
        nonlocal most
        for _ in range(20):
            at_work.append(1)
            assert torch.get_num_threads() == 1
            most = max(most, len(at_work))
            time.sleep(0.002)
            at_work.pop()
            steps.wait("a", 0)

    assert len(run([function] * 4)) == 20
    assert most == threads


def test_each_function_is_the_one_that_runs_while_it_works() -> None:
    steps = lockstep()

    def function() -> None:
        for _ in range(20):
            assert steps.running is functions[int(threading.current_thread().name)]
            steps.wait("a", 0)

    def named(number: int) -> Callable[[], None]:
        def call() -> None:
            threading.current_thread().name = str(number)
            function()

        return call

    functions = [named(number) for number in range(5)]
    steps.run(functions, lambda _place, _values: None)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_one_raises_ends_all(kind: type[BaseException]) -> None:
    before = set(threading.enumerate())

    def function(steps: Lockstep) -> None:
        steps.wait("a", 0)
        raise kind("no more")

    with pytest.raises(kind, match="no more"):
        run([visits("a", "b"), function, visits("a", "b")])
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_what_a_meeting_raises_ends_all() -> None:
    steps = lockstep(0)

    def meet(_place: str, _values: Sequence[int]) -> None:
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        steps.run([lambda: visits("a")(steps)], meet)


def test_threads_that_the_system_does_not_start_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    before, start = threading.active_count(), threading.Thread.start
    started = iter(range(5))

    def limited(thread: threading.Thread) -> None:
        if next(started, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    stack = threading.stack_size()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        with pytest.raises(DfsqError, match="of 9 threads, .* the system starts 5; use fewer `patches`"):
            run([visits("a")] * 9)
    assert threading.stack_size() == stack
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before  # none of those that were started waits forever
