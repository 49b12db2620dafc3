"""The search for the fewest steps against trying all numbers of them."""

import math

import numpy as np
import pytest

from calibration.search import least_that_holds


def search(drops: list[float], limit: float, predicted: list[float]) -> tuple[int | None, list[int]]:
    asked: list[int] = []

    def drop_after(steps: int) -> float:
        asked.append(steps)
        return drops[steps]

    return least_that_holds(drop_after, limit, predicted), asked


@pytest.mark.parametrize("seed", range(40))
def test_finds_what_trying_all_finds_however_wrong_the_prediction_is(seed: int) -> None:
    generator = np.random.default_rng(seed)
    steps = int(generator.integers(0, 200))
    drops, predicted = (sorted(10 ** generator.uniform(-4, 1, steps + 1), reverse=True) for _ in range(2))
    for limit in (0.0, *generator.choice(drops, 3), 20.0):
        found, asked = search(drops, limit, predicted)
        assert found == next((index for index, drop in enumerate(drops) if drop <= limit), None)
        assert len(asked) == len(set(asked)) <= 3 * math.log2(steps + 1) + 3


@pytest.mark.parametrize("floor", [0.0, 0.002])
def test_a_good_prediction_saves_tries(floor: float) -> None:
    predicted = [0.1 * 0.97**index for index in range(160)]
    drops = [10 * math.log10(1 + floor + error) for error in predicted]
    found, asked = search(drops, 0.05, predicted)
    assert found == next(index for index, drop in enumerate(drops) if drop <= 0.05)
    assert len(asked) <= 5


def test_nothing_is_asked_that_is_not_needed() -> None:
    assert search([0.1], 0.2, [1.0]) == (0, [0])
    assert search([0.3], 0.2, [1.0]) == (None, [0])
    assert search([0.3, 0.2, 0.1], 0.2, [0.0, 0.0, 0.0])[0] == 1
    assert search([math.inf, math.inf, 0.1], 0.2, [3.0, 2.0, 1.0])[0] == 2
