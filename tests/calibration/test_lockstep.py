"""Functions that wait for one another: who meets whom, in what order, and how it ends."""

import threading
from collections.abc import Callable, Sequence

import pytest

from calibration.lockstep import Lockstep
from calibration.shelf import Shelf


def run(functions: Sequence[Callable[[Lockstep], object]]) -> list[tuple[str, list[int]]]:
    """Places and values of all meetings."""
    steps: Lockstep = Lockstep(Shelf(1 << 30))
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


def test_one_works_at_a_time_between_two_meetings() -> None:
    at_work: list[int] = []

    def function(steps: Lockstep) -> None:
        for _ in range(20):
            at_work.append(1)
            assert len(at_work) == 1
            at_work.pop()
            steps.wait("a", 0)

    assert len(run([function] * 4)) == 20


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_one_raises_ends_all(kind: type[BaseException]) -> None:
    before = threading.active_count()

    def function(steps: Lockstep) -> None:
        steps.wait("a", 0)
        raise kind("no more")

    with pytest.raises(kind, match="no more"):
        run([visits("a", "b"), function, visits("a", "b")])
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(5)
    assert threading.active_count() <= before


def test_what_a_meeting_raises_ends_all() -> None:
    steps: Lockstep = Lockstep(Shelf(0))

    def meet(_place: str, _values: Sequence[int]) -> None:
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        steps.run([lambda: visits("a")(steps)], meet)
