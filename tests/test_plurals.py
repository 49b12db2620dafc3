import pytest

from dfsq.plurals import counted


@pytest.mark.parametrize("number, expected", [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (1000, "1000 steps")])
def test_one_is_no_plural(number: int, expected: str) -> None:
    assert counted(number, "step") == expected
