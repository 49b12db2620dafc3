"""What is proposed, where it is known what each layer costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import calibration
from calibration import target
from calibration.analysis import Proposal
from calibration.analysis.proposal import propose
from calibration.progress import silent
from calibration.recipes.files import shipped

COSTS = {f"layer {n}": cost for n, cost in enumerate((0.20, 0.06, 0.04, 0.03, *[0.01] * 12))}


def proposed(
    costs: Mapping[str, float], recipe: Mapping[str, Any], tried: list[int] | None = None, bits: int = 4
) -> Proposal | None:
    """With layers whose costs add up; the first has 4 bits, the others ``bits``."""
    total = sum(costs.values())

    def drop_without(names: Sequence[str]) -> float:
        (tried if tried is not None else []).append(len(names))
        return total - sum(costs[name] for name in names)

    return propose(
        dict.fromkeys(costs, bits) | dict.fromkeys(list(costs)[:1], 4), len(costs), total, drop_without, recipe, silent
    )


def recipe(name: str = "accurate", **changes: Any) -> dict[str, Any]:
    return calibration.recipe(name, **changes).to_dict()


def test_the_fewest_layers_that_give_back_half() -> None:
    tried: list[int] = []
    found = proposed(COSTS, recipe(), tried)  # 0.45 dB in all: one gives 0.20, two 0.26
    assert found is not None
    assert tried == [1, 2]
    assert found.layers == ("layer 0", "layer 1")
    assert found.drop == pytest.approx(0.19)
    assert found.changes == {"layer_bits": (("layer 0", 8), ("layer 1", 8))}


def test_what_was_asked_for_before_stays() -> None:
    found = proposed(COSTS, recipe(layer_bits=(("layer 3", 2),)))
    assert found is not None
    assert found.changes["layer_bits"][0] == ("layer 3", 2)


def test_what_has_eight_bits_is_left_in_full_precision() -> None:
    found = proposed(COSTS, recipe("int8", skip=("layer 3",)), bits=8)
    assert found is not None
    assert found.changes == {"layer_bits": (("layer 0", 8),), "skip": ("layer 3", "layer 1")}


def test_where_no_few_layers_stand_out_bits_are_raised_until_half_is_left() -> None:
    tried: list[int] = []
    even = {f"layer {n}": 0.02 for n in range(16)}
    found = proposed(even, recipe(), tried)
    assert tried == [1, 2, 4]  # a quarter of the layers at most
    assert found == Proposal({"max_drop": 0.2}, (), 0.2)


@pytest.mark.parametrize("name", shipped())
def test_changes_are_such_as_the_recipe_takes(name: str) -> None:
    even = {f"layer {n}": 0.02 for n in range(16)}
    for costs in (COSTS, even):
        found = proposed(costs, recipe(name))
        assert found is not None
        changes = dict(found.changes)
        limit = changes.pop("max_drop", None)
        changed = calibration.recipe(name, **changes)
        if limit is not None:
            target.check(changed, limit)


def test_nothing_to_gain_is_nothing_proposed() -> None:
    assert proposed({"a": 0.004, "b": 0.005}, recipe()) is None
    assert proposed({"a": -0.1}, recipe()) is None
    assert proposed({"a": float("inf")}, recipe()) is None
    assert proposed({"a": float("nan")}, recipe()) is None
