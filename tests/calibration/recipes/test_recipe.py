"""What every method can be told, and what it refuses."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from calibration import FixedRanges, Integers, OnePass, Recipe, Sequential, Trained, recipe
from calibration.recipes.recipe import METHODS, register
from calibration.recipes.values import WEIGHTS
from dfsq.errors import UsageError
from dfsq.networks import from_state
from dfsq.networks.edsr import EDSR

ALL = {key: each for method in METHODS.values() for key, each in method.choices().items()}
FOREIGN = [(name, key) for name, key in itertools.product(METHODS, ALL) if key not in METHODS[name].choices()]
GRIDS = ("minmax", "percentile", "mse")
POINTS = ("exact", "kmeans", "exhaustive", "log2")
DEPENDENT: list[tuple[type[Recipe], str, Any, dict[str, Any], bool]] = [
    *((OnePass, "restarts", 7, {"selector": each}, each == "kmeans") for each in GRIDS + POINTS),
    *((OnePass, "universal", "even", {"selector": each}, each == "exact") for each in GRIDS + POINTS),
    *((Trained, "headroom", 2.0, {"ranges": each}, each == "sample") for each in ("sample", "fixed")),
    *((Trained, "block", 16, {"ranges": each}, each == "sample") for each in ("sample", "fixed")),
    *((Trained, "target_share", 0.5, {"objective": each}, each == "target") for each in ("output", "target")),
    *(
        (method, "columns", True, {"weights": each}, each != "symmetric")
        for method in (OnePass, Sequential)
        for each in WEIGHTS
    ),
    *((FixedRanges, "restarts", 7, {"selector": each}, each == "kmeans") for each in GRIDS + POINTS),
    *((FixedRanges, "float_share", 0.5, {"selector": each}, each in GRIDS) for each in GRIDS + POINTS),
    *(
        (FixedRanges, "words", 5, {"selector": each, "weights": weights}, each in POINTS or weights == "subset")
        for each in GRIDS + POINTS
        for weights in WEIGHTS
    ),
]
"""Method, a choice of it, a value, others, and whether the choice means something beside them."""


def test_the_tables_are_complete() -> None:
    assert {("integers", "selector"), ("integers", "words"), ("fixed-ranges", "headroom")} <= set(FOREIGN)
    dependent = {(method, key) for method in METHODS.values() for key, each in method.choices().items() if each.only}
    inherited = {(METHODS["sequential"], "restarts"), (METHODS["sequential"], "universal")}
    assert dependent - inherited == {(method, key) for method, key, *_ in DEPENDENT}


@pytest.mark.parametrize(("method", "key"), FOREIGN)
def test_what_means_nothing_to_a_method_is_refused(method: str, key: str) -> None:
    kind = METHODS[method]
    with pytest.raises(UsageError, match=f"^`{key}` means nothing to the method {method}, only to "):
        kind.of({key: ALL[key].default})
    with pytest.raises(TypeError, match=key):
        kind(**{key: ALL[key].default})
    if key != "compensation":  # a change to the method instead
        with pytest.raises(UsageError, match=f"^`{key}` means nothing to the method {method}"):
            kind().changed(**{key: ALL[key].default})


@pytest.mark.parametrize(("method", "key", "value", "others", "means"), DEPENDENT)
def test_what_means_nothing_beside_others_is_refused(
    method: type[Recipe], key: str, value: Any, others: dict[str, Any], means: bool
) -> None:
    if means:
        assert method(**others, **{key: value}).to_dict()[key] == value
        return
    for attempt in (
        lambda: method(**others, **{key: value}),
        lambda: method.of({**others, key: value}),
        lambda: method().changed(**others, **{key: value}),
        lambda: method.of({**others, key: method.choices()[key].default}),
    ):
        with pytest.raises(UsageError, match=f"^`{key}` means nothing without .*`{next(iter(others))}`"):
            attempt()
    assert key not in method(**others).to_dict()


def test_a_change_leaves_out_what_it_takes_the_meaning_of() -> None:
    kmeans = OnePass(selector="kmeans", restarts=7)
    assert kmeans.changed(selector="exact") == OnePass()
    assert kmeans.changed(w_bits=3) == OnePass(selector="kmeans", restarts=7, w_bits=3)


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_compensation_chooses_between_two_methods(name: str) -> None:
    chosen = recipe(name, w_bits=3, words=3)
    for compensation, method in ((True, "sequential"), (False, "one-pass")):
        other = chosen.changed(compensation=compensation)
        told, shared = other.to_dict(), {**chosen.to_dict(), "method": method}
        assert told.keys() ^ shared.keys() <= {"passes"}  # which one pass knows nothing of
        assert all(told[key] == shared[key] for key in told.keys() & shared.keys())
    assert recipe("int8", compensation=False) == Integers(name="int8", compensation=False)
    with pytest.raises(UsageError, match="compensation is 'no'; it must be bool"):
        chosen.changed(compensation="no")


def test_outputs_are_rounded_where_layers_are_compensated_alone() -> None:
    with pytest.raises(UsageError, match="`target` onnxruntime .* `compensation`"):
        recipe("int8", target="onnxruntime", compensation=False)


def test_points_are_counted_where_there_are_some() -> None:
    with pytest.raises(UsageError, match="8 bits need 256 points, but 2 words make only 29"):
        recipe("minmax", weights="subset", words=2, w_bits=8)
    assert recipe("minmax", w_bits=8).w_bits == 8


def test_two_methods_of_one_name_are_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Other(OnePass):
        method: ClassVar[str] = "sequential"

    with pytest.raises(ValueError, match="two methods called 'sequential'"):
        register(Other)


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("fast", "exact selection, subset weights, blocks of 8×8"),
        ("accurate", "exact selection, subset weights, compensation, feedback, blocks of 8×8"),
        ("paper", "kmeans selection, minmax weights"),
        ("mse", "fixed ranges, mse selection, mse weights"),
        ("int8", "equalized integers for openvino, compensation"),
    ],
)
def test_phrases(name: str, phrase: str) -> None:
    assert recipe(name).phrase() == phrase


@pytest.mark.parametrize("words", range(1, 6))
def test_no_width_without_enough_points_is_accepted(words: int) -> None:
    accepted = []
    for w_bits, a_bits in itertools.product(range(2, 9), repeat=2):
        try:
            found = OnePass(words=words, w_bits=w_bits, a_bits=a_bits)
        except UsageError as error:
            assert "use more words" in str(error)
            continue
        assert found.has_points(w_bits) and found.has_points(a_bits)
        accepted.append((w_bits, a_bits))
    assert (2, 2) in accepted
    for bits in range(2, 9):
        if not OnePass(words=words, w_bits=2, a_bits=2).has_points(bits):
            OnePass(words=words, w_bits=2, a_bits=2, outside_bits=bits)
            with pytest.raises(UsageError, match="use more words"):
                OnePass(words=words, w_bits=2, a_bits=2, outside_bits=bits, scope="all")
    assert ((5, 6) in accepted) == (words > 2)  # 29 points of two words, but 65 that are evenly spaced


@pytest.mark.parametrize("name", ["accurate", "trained", "fast", "paper", "int8", "ddtb"])
@pytest.mark.parametrize(
    ("scale", "features", "patches"), [(1, 8, 32), (2, 8, 32), (3, 8, 72), (4, 8, 128), (4, 256, 32)]
)
def test_small_networks_at_large_scales_see_more_patches(name: str, scale: int, features: int, patches: int) -> None:
    model = from_state(EDSR(scale, 2, features, 1.0).state_dict(), scale=scale)
    assert recipe(name).patches_for(model) == (patches if name in ("accurate", "trained") else 32)
    assert recipe(name, patches=5).patches_for(model) == 5
