"""Names of networks, recipes and sets in any case, and options that are called the same everywhere."""

from collections.abc import Callable

import click
import pytest

from calibration.recipes.files import recipe, shipped
from cli.main import group
from dfsq.extras import installed
from dfsq.networks import architectures
from dfsq.networks.registry import named


def has_sets(command: click.Command) -> bool:
    return any(each.name == "sets" for each in command.params)


@pytest.mark.parametrize("name", shipped())
def test_recipes(dfsq: Callable, name: str) -> None:
    assert dfsq("recipes", "show", name.upper()).out == dfsq("recipes", "show", name).out
    assert recipe(name.capitalize()) == recipe(name)


@pytest.mark.parametrize("name", architectures())
def test_networks(name: str) -> None:
    assert named(name.upper()) is named(name)


def test_networks_and_embedded_checkpoints_of_a_command(dfsq: Callable) -> None:
    given, found = dfsq("inspect", "model.pth", "--arch", "EDSR"), dfsq("inspect", "model.pth", "--arch", "edsr")
    assert (given.code, given.out) == (0, found.out)
    assert "×2" in dfsq("inspect", "EDSR-baseline-x2").out


def test_spandrels_networks(dfsq: Callable) -> None:
    if not installed("spandrel"):
        pytest.skip("spandrel is not installed")
    errors = [dfsq("inspect", "model.pth", "--arch", name).err for name in ("spandrel:Compact", "SPANDREL:compact")]
    assert errors[0] == errors[1]
    assert "spandrel" in errors[0]


def test_sets(dfsq: Callable) -> None:
    outs = [dfsq("eval", "model.pth", "--data", "benchmark", "--set", name, "--json").out for name in ("Set5", "sET5")]
    assert outs[0] == outs[1] != ""


@pytest.mark.parametrize("command", [name for name, each in group.commands.items() if has_sets(each)])
def test_sets_are_chosen_by_one_word(command: str) -> None:
    (option,) = (each for each in group.commands[command].params if each.name == "sets")
    assert option.opts == ["--set", "--eval"]


@pytest.mark.parametrize("word", ["--set", "--eval"])
def test_both_words_work(dfsq: Callable, word: str) -> None:
    run = dfsq("eval", "model.pth", "--data", "benchmark", word, "Set5", "--csv")
    assert run.code == 0
    assert {line.split(",")[5] for line in run.out.splitlines()[1:]} == {"Set5"}
    run = dfsq("quantize", "model.pth", word, "Set5", "--data", "benchmark", "--patches", "1", "--recipe", "FAST")
    assert run.code == 0
    assert "Set5 ×2" in run.out
    assert "FAST" not in run.out
