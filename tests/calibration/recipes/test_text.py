from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from calibration import Integers, OnePass, Recipe, recipe
from calibration.recipes.files import shipped
from calibration.recipes.recipe import METHODS
from calibration.recipes.text import to_yaml

OWN = OnePass(
    selector="kmeans",
    avg_bits=4.5,
    skip=("body.0.*", "é, ]"),
    layer_bits=(("body.1.*", 6), ("x: {y}", 8)),
)


def read_back(chosen: Recipe, folder: Path) -> Recipe:
    (folder / "copy.yaml").write_text(to_yaml(chosen, "For a test."), encoding="utf-8")
    return recipe(str(folder / "copy.yaml"))


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_are_read_back(name: str, tmp_path: Path) -> None:
    assert read_back(recipe(name), tmp_path) == replace(recipe(name), name="copy")


@pytest.mark.parametrize("chosen", [OWN, Integers(headroom=1.25, float_share=1e-5)])
def test_recipes_of_ones_own_are_read_back(chosen: Recipe, tmp_path: Path) -> None:
    assert read_back(chosen, tmp_path) == replace(chosen, name="copy")


def test_a_recipe_as_text() -> None:
    lines = to_yaml(recipe("paper", skip=("body.0.*",)), "DFSQ as published.").splitlines()
    assert lines[:3] == [
        "# DFSQ as published.",
        f"method: one-pass          # of {', '.join(sorted(METHODS))}",
        "w_bits: 4                 # weights in body scope, 2…8",
    ]
    assert "restarts: 5               # of kmeans, per channel" in lines
    assert "skip: [body.0.*]          # patterns of layers that stay in full precision" in lines
    assert "layer_bits: {}            # pattern: bits, of weights and activations; the last match counts" in lines


@pytest.mark.parametrize("name", shipped())
def test_every_choice_that_means_something_has_a_line(name: str) -> None:
    chosen = recipe(name)
    choices = chosen.choices()
    expected = {key for key, each in choices.items() if each.applies(vars(chosen))}
    assert set(yaml.safe_load(to_yaml(chosen))) == expected - {"name"} | {"method"}
    assert all(line.partition("# ")[2] for line in to_yaml(chosen).splitlines())
