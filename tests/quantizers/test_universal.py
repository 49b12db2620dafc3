from fractions import Fraction
from itertools import product

import pytest

from dfsq.errors import UsageError
from dfsq.quantizers.universal import UniversalSet


def test_paper_set_has_377_multiples_of_a_1024th() -> None:
    universal = UniversalSet()
    assert len(universal) == 377
    assert universal.denominator == 1024
    assert universal.numerators[[0, 188, -1]].tolist() == [-1024, 0, 1024]


@pytest.mark.parametrize("words", [1, 2, 3, 4])
def test_elements_match_the_formula_in_fractions(words: int) -> None:
    choices = [
        (Fraction(0), Fraction(1), Fraction(1, 2**i), Fraction(1, 2 ** (i + words))) for i in range(1, words + 1)
    ]
    positive = {sum(combination, Fraction(0)) / words for combination in product(*choices)}
    expected = sorted(positive | {-value for value in positive})
    universal = UniversalSet(words)
    assert [Fraction(n, universal.denominator) for n in universal.numerators.tolist()] == expected


def test_words_out_of_range_are_refused_with_the_range() -> None:
    with pytest.raises(UsageError, match="1 to 5"):
        UniversalSet(6)
