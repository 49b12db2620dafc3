import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import dfsq as api
from dfsq import save
from dfsq.model import Quantization, SRModel
from dfsq.nn import SubsetQuantizer


@pytest.fixture
def artifact(dfsq: Callable) -> str:
    assert dfsq("quantize", "model.pth", "-o", "q.safetensors", "--bits", "2", "--patches", "1", "--no-eval").code == 0
    return "q.safetensors"


def test_a_checkpoint(dfsq: Callable) -> None:
    run = dfsq("inspect", "model.pth")
    assert run.code == 0
    for expected in (
        "edsr (parameter names)",
        "×2 (shapes)",
        "blocks 2, features 8",
        "0–255",
        "body.1.body.2",
        "8×8×3×3",
    ):
        assert expected in run.out


def test_an_artifact(dfsq: Callable, artifact: str) -> None:
    run = dfsq("inspect", artifact)
    assert run.code == 0
    for expected in (
        "dfsq artifact",
        "│ w_bits       │ 2 ",
        "exact",
        "model.pth, sha256 ",
        "2 subset",
        "2 signed",
        "2 non-negative",
    ):
        assert expected in run.out


def test_an_artifact_of_0_1_whose_recipe_names_no_method(dfsq: Callable, artifact: str) -> None:
    model = api.load(artifact)
    recipe = {"name": "mine", "w_bits": 2, "a_bits": 2, "avg_bits": None, "weights": "subset", "compensation": True}
    more = {"feedback": True, "granularity": "channel", "selector": "exact", "restarts": 5, "words": 4}
    model.quantization = Quantization({**recipe, **more}, {})
    api.save(model, Path("old.safetensors"))
    run = dfsq("inspect", "old.safetensors")
    assert run.code == 0
    assert all(f"│ {key} " in run.out for key in (*recipe, *more))
    scores = json.loads(dfsq("eval", "old.safetensors", "--data", "benchmark", "--set", "Set5", "--json").out)
    assert (scores["models"][0]["w_bits"], scores["models"][0]["a_bits"]) == (2, 2)


def test_points_of_a_layer(dfsq: Callable, artifact: str) -> None:
    run = dfsq("inspect", artifact, "--layer", "body.0.body.2")
    rows = [line for line in run.out.splitlines() if line.startswith("│")]
    assert len(rows) == 8
    points = [float(value) for value in rows[0].split("│")[2].split()]
    assert len(points) == 4
    assert points == sorted(points)
    assert all(-1 <= point <= 1 for point in points)


@pytest.mark.parametrize("shape", [(2, 8), (2,)])
def test_points_in_ranges_that_are_fixed(dfsq: Callable, artifact: str, shape: tuple[int, ...]) -> None:
    model = api.load(artifact)
    layer = model.net.get_submodule("body.0.body.2")
    rows = 8 if len(shape) == 2 else 1
    points = torch.tensor([-1024, 0, 256, 512]).repeat(rows, 1)  # -1, 0, 1/4, 1/2 of the spread
    fixed = torch.stack([torch.full(shape[1:], 10.0), torch.full(shape[1:], 4.0)])
    old = layer.input_quantizer
    layer.input_quantizer = SubsetQuantizer(points, True, 2, old.universal, old.channel_axis, fixed=fixed)
    save(model, "fixed.safetensors")
    out = dfsq("inspect", "fixed.safetensors", "--layer", "body.0.body.2").out
    assert "the same for every image" in out and "spread" not in out
    lines = [line for line in out.splitlines() if line.startswith("│")]
    assert len(lines) == rows
    assert [float(value) for value in lines[0].split("│")[2].split()] == [6, 10, 11, 12]
    assert lines[0].split("│")[1].strip() == ("0" if rows == 8 else "all")


def test_json(dfsq: Callable, artifact: str) -> None:
    document = json.loads(dfsq("inspect", artifact, "--json").out)
    assert document["architecture"] == "edsr"
    assert document["layers"]["body.0.body.0"]["w_bits"] == 2


@pytest.fixture
def bounded(dfsq: Callable, plausible_model: SRModel, with_bounds: Callable[[SRModel, bool], SRModel]) -> str:
    save(with_bounds(plausible_model, True), "b.safetensors")
    return "b.safetensors"


def test_bounds_and_gates(dfsq: Callable, bounded: str) -> None:
    out = dfsq("inspect", bounded).out
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert "2 non-negative" in rows["body.0.body.2"]
    assert "0 to 15" in rows["body.0.body.2"] and "dynamic" in rows["body.0.body.2"]
    assert "2 bounds" in rows["body.0.body.0"] and "full" in rows["body.0.body.0"]
    assert "2 signed" in rows["body.0.skip"] and "-9 to 20" in rows["body.0.skip"] and "dynamic" in rows["body.0.skip"]
    assert "-10 to 20" in rows["body.0.output"] and "dynamic" not in rows["body.0.output"]


def test_bounds_as_json_and_levels_of_a_place(dfsq: Callable, bounded: str) -> None:
    document = json.loads(dfsq("inspect", bounded, "--json").out)
    assert document["bounds"]["body.0.output"] == {"lower": -10.0, "upper": 20.0, "gate": False}
    assert document["bounds"]["body.0.body.2"] == {"lower": 0.0, "upper": 15.0, "gate": True}
    out = dfsq("inspect", bounded, "--layer", "body.0.output").out
    assert out == "body.0.output: levels of the whole tensor: -10 +0 +10 +20\n"
    assert "gate" in dfsq("inspect", bounded, "--layer", "body.0.body.2").out


def test_what_has_no_bounds_says_nothing_of_them(dfsq: Callable, artifact: str) -> None:
    assert "bounds" not in json.loads(dfsq("inspect", artifact, "--json").out)
    out = dfsq("inspect", artifact).out
    assert "bounds" not in out and "Quantized places" not in out
