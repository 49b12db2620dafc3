"""``dfsq analyze``: what is printed and written, and that its last line does what it promises."""

import csv
import io
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import calibration
from calibration.recipes.files import shipped
from calibration.recipes.recipe import METHODS
from cli.proposing import quantize_command
from cli.quantize import quantize
from dfsq.artifact import read_header

FAST = ("--recipe", "fast", "--bits", "2", "--calib", "photos")


@pytest.fixture
def artifact(dfsq: Callable[..., Any]) -> str:
    done = dfsq("quantize", "model.pth", "-o", "a.safetensors", *FAST, "--patch-size", "64", "--no-eval")
    assert done.code == 0, done.err
    return "a.safetensors"


def test_tables_and_what_to_do(dfsq: Callable[..., Any], artifact: str) -> None:
    done = dfsq("analyze", artifact, "--calib", "photos")
    assert done.code == 0, done.err
    for name in read_header(Path(artifact))["layers"]:
        assert done.out.count(f" {name} ") >= 2  # in both tables
    assert "What hurts" in done.out
    assert "Signals" in done.out
    assert "\ndfsq quantize model.pth --recipe fast --bits 2 " in done.out


def test_json_and_csv_have_every_figure_of_every_layer(dfsq: Callable[..., Any], artifact: str) -> None:
    document = json.loads(dfsq("analyze", artifact, "--calib", "photos", "--json").out)
    rows = list(csv.DictReader(io.StringIO(dfsq("analyze", artifact, "--calib", "photos", "--csv").out)))
    assert document["schema"] == "dfsq-analyze/1"
    assert document["recipe"]["name"] == "fast"
    assert [row["name"] for row in rows] == [each["name"] for each in document["layers"]]
    assert {each["name"] for each in document["layers"]} == set(read_header(Path(artifact))["layers"])
    for row, layer in zip(rows, document["layers"], strict=True):
        assert set(row) == set(layer)
        for key, value in layer.items():
            if isinstance(value, int | float):
                assert float(row[key]) == value


def test_a_checkpoint_is_quantized_first(dfsq: Callable[..., Any], artifact: str) -> None:
    small = ("--images", "1", "--json")
    found = json.loads(dfsq("analyze", "model.pth", "--recipe", "fast", "--bits", "3", *small).out)
    assert found["recipe"]["name"] == "fast"
    assert {each["w_bits"] for each in found["layers"]} == {3, 8}
    assert len(found["images"]) == 1
    assert json.loads(dfsq("analyze", artifact, *small).out)["images"] == found["images"]


def test_reports(dfsq: Callable[..., Any], artifact: str) -> None:
    names = [f"layers.{suffix}" for suffix in ("html", "md", "json", "csv")]
    done = dfsq("analyze", artifact, *(word for name in names for word in ("--report", name)))
    assert done.code == 0, done.err
    for name in names:
        assert "body.0.body.0" in Path(name).read_text()
    assert "<svg" in Path("layers.html").read_text()
    assert json.loads(Path("layers.json").read_text())["command"] is None or "dfsq quantize" in done.out


def test_a_layer_by_itself(dfsq: Callable[..., Any], artifact: str) -> None:
    reports = ("--report", "layer.html", "--report", "layer.json", "--report", "layer.csv")
    done = dfsq("analyze", artifact, "--layer", "body.0.body.0", *reports)
    assert done.code == 0, done.err
    assert "<svg" in Path("layer.html").read_text()
    document = json.loads(Path("layer.json").read_text())
    assert sum(document["levels"]) == pytest.approx(4)
    assert len(Path("layer.csv").read_text().splitlines()) == 1 + len(document["counts"])
    rows = [line.split("│") for line in done.out.splitlines() if line.startswith("│")]
    shares = [float(row[2]) for row in rows]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert sum(float(row[4]) for row in rows if row[4].strip()) == pytest.approx(4, abs=0.1)  # of two bits
    done = dfsq("analyze", artifact, "--layer", "body.9")
    assert (done.code, "no quantized layer 'body.9'" in done.err) == (2, True)


class TestReference:
    def test_beside_the_artifact(self, dfsq: Callable[..., Any], artifact: str) -> None:
        Path("elsewhere").mkdir()
        for name in ("model.pth", artifact):
            shutil.move(name, "elsewhere")
        assert dfsq("analyze", f"elsewhere/{artifact}", "--layer", "body.0.body.0").code == 0

    def test_named(self, dfsq: Callable[..., Any], artifact: str) -> None:
        shutil.move("model.pth", "moved.pth")
        done = dfsq("analyze", artifact)
        assert done.code == 2
        assert "was made of model.pth, which is not beside it; name that file by --reference" in done.err
        assert dfsq("analyze", artifact, "--reference", "moved.pth", "--layer", "body.0.body.0").code == 0

    def test_another_file_of_that_name(self, dfsq: Callable[..., Any], artifact: str) -> None:
        content = Path("model.pth").read_bytes()
        Path("model.pth").write_bytes(content + b"\0")
        done = dfsq("analyze", artifact)
        assert "which is not beside it" in done.err
        done = dfsq("analyze", artifact, "--reference", "edsr-baseline-x2")
        assert done.code == 2
        assert "the artifact was made of model.pth with sha256" in done.err

    def test_folded_integers(self, dfsq: Callable[..., Any]) -> None:
        words = ("--recipe", "int8", "--target", "onnxruntime", "--calib", "photos", "--patch-size", "64", "--no-eval")
        assert dfsq("quantize", "model.pth", "-o", "folded.safetensors", *words).code == 0
        done = dfsq("analyze", "folded.safetensors")
        assert done.code == 2
        assert "analyze the checkpoint by its recipe instead" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model.pth", "--reference", "model.pth"), "--reference is for artifacts"),
        (("a.safetensors", "--bits", "3"), "quantized already; --recipe and --bits are for checkpoints"),
        (("a.safetensors", "--recipe", "fast"), "quantized already; --recipe and --bits are for checkpoints"),
        (("a.safetensors", "--json", "--csv"), "choose one"),
        (("a.safetensors", "--layer", "head.0", "--json"), "choose one"),
    ],
)
def test_what_contradicts_itself(dfsq: Callable[..., Any], artifact: str, words: tuple[str, ...], message: str) -> None:
    done = dfsq("analyze", *words)
    assert done.code == 2
    assert message in done.err


def changed_fields() -> list[tuple[str, str, Any]]:
    """Every choice of every shipped recipe that has an option, with another value."""
    others = {"skip": ("a.*", "b"), "layer_bits": (("a.*", 3), ("b", 8)), "outside_bits": None, "headroom": None}
    found = []
    for name in shipped():
        recipe = calibration.recipe(name)
        options = {each.name: each for each in quantize.params if isinstance(each, click.Option)}
        for field, choice in recipe.choices().items():
            old = getattr(recipe, field)
            if field == "name" or field not in options or not choice.applies(vars(recipe)):
                continue
            if field in others:
                values = [others[field]] if old != others[field] else [7 if field == "outside_bits" else 1.25]
            elif choice.known:
                values = [each for each in choice.known if each != old]
            elif isinstance(old, bool):
                values = [not old]
            elif isinstance(old, float):
                values = [0.25] if field == "float_share" else [1.75]
            elif old is None:
                values = [3.5 if field == "avg_bits" else 3]
            else:
                values = [old - 1 if old > 4 else old + 1]
            for value in values:
                try:
                    recipe.changed(**{field: value})
                except Exception:
                    continue
                found.append((name, field, value))
    return found


def test_the_fields_are_many() -> None:
    assert len(changed_fields()) > 100
    assert {name for name, _, _ in changed_fields()} == set(shipped())


@pytest.mark.parametrize(("name", "field", "value"), changed_fields())
def test_the_command_gives_the_recipe_again(name: str, field: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_command(calibration.recipe(name).changed(**{field: value}), monkeypatch)


@pytest.mark.parametrize(("name", "compensation"), [("accurate", False), ("fast", True)])
def test_the_command_chooses_the_method(name: str, compensation: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    check_command(calibration.recipe(name, compensation=compensation), monkeypatch)


def check_command(wanted: calibration.Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    line = quantize_command(quantize, "my model.pth", wanted.to_dict(), {}, [Path("photos and more")])
    program, command, *words = shlex.split(line)
    assert (program, command) == ("dfsq", "quantize")
    seen: list[Any] = []
    monkeypatch.setattr(calibration, "recipe", lambda name, **changes: seen.append((name, changes)) or _stopped())
    monkeypatch.setattr("cli.quantize.prepare", lambda *_, **__: "cpu")
    with pytest.raises(_StopError):
        quantize.main(words, standalone_mode=False)
    monkeypatch.undo()
    ((called, changes),) = seen
    assert calibration.recipe(called, **changes) == wanted
    assert "my model.pth" in words
    assert "photos and more" in words


def test_a_recipe_of_ones_own_is_named_as_a_file() -> None:
    recipe = METHODS["one-pass"].of({"name": "mine"}).to_dict()
    assert "--recipe mine.yaml" in quantize_command(quantize, "model.pth", recipe, {}, [])


def test_a_recipe_that_no_options_make_of_a_shipped_one_is_named_as_a_file() -> None:
    changed = calibration.recipe("paper").changed(restarts=7).to_dict()
    assert "--recipe paper.yaml" in quantize_command(quantize, "model.pth", changed, {}, [])
    settled = calibration.recipe("trained").changed(ranges="fixed").to_dict()  # by the run, as artifacts hold it
    assert "--recipe trained --calib photos" in quantize_command(quantize, "model.pth", settled, {}, [Path("photos")])


class _StopError(Exception):
    pass


def _stopped() -> None:
    raise _StopError
