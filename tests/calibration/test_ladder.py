from calibration.ladder import Rung, climbed, plan_after
from calibration.layers import LayerBits


def bits(count: int) -> LayerBits:
    return LayerBits(count, count)


def test_most_help_for_its_cost_comes_first() -> None:
    rungs = {
        "cheap": [Rung(bits(4), 8.0, 4.0), Rung(bits(5), 2.0, 5.0), Rung(bits(6), 1.0, 6.0)],
        "dear": [Rung(bits(4), 80.0, 400.0), Rung(bits(5), 20.0, 500.0)],
        "late": [Rung(bits(4), 9.0, 4.0), Rung(bits(5), 9.0, 5.0), Rung(bits(6), 0.0, 6.0)],
        "top": [Rung(bits(8), 5.0, 8.0)],
    }
    ladder = climbed(rungs)
    order = [(step.layer, step.bits and step.bits.w_bits) for step in ladder.steps]
    # "late" gains nothing by one bit, but 9 by two: 4.5 a bit; its second one then gains 9.
    assert order == [("cheap", 5), ("late", 5), ("late", 6), ("cheap", 6), ("dear", 5)]
    assert ladder.predicted == [102.0, 96.0, 96.0, 87.0, 86.0, 26.0]
    plan = {name: each[0].bits for name, each in rungs.items() if each[0].bits}
    assert plan_after(plan, ladder.steps[:3]) == {**plan, "cheap": bits(5), "late": bits(6)}


def test_what_exceeds_the_budget_is_passed_over() -> None:
    rungs = {
        name: [Rung(bits(8), error, 0.0), Rung(None, 0.0, cost)]
        for name, error, cost in (("a", 9.0, 1.0), ("b", 80.0, 10.0), ("c", 4.0, 1.0))
    }
    ladder = climbed(rungs, budget=2.0)
    assert [step.layer for step in ladder.steps] == ["a", "c"]
    assert set(plan_after({name: bits(8) for name in rungs}, ladder.steps)) == {"b"}
