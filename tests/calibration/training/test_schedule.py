import math

import pytest

from calibration.training.schedule import Cosine, Halved


def test_a_cosine_by_hand() -> None:
    rate = Cosine(peak=8.0, steps=4)
    expected = [8, 4 + 4 / math.sqrt(2), 4, 4 - 4 / math.sqrt(2)]
    assert [rate(step) for step in range(4)] == pytest.approx(expected)


def test_a_warm_up_rises_evenly() -> None:
    rate = Cosine(peak=1.0, steps=10**9, warm_up=3)
    assert [rate(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])


def test_halving() -> None:
    rate = Halved(start=4.0, every=3)
    assert [rate(step) for step in range(8)] == [4, 4, 4, 2, 2, 2, 1, 1]
