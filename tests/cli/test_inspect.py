import json
from collections.abc import Callable
from pathlib import Path

import pytest

import dfsq as api
from dfsq.model import Quantization


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


def test_json(dfsq: Callable, artifact: str) -> None:
    document = json.loads(dfsq("inspect", artifact, "--json").out)
    assert document["architecture"] == "edsr"
    assert document["layers"]["body.0.body.0"]["w_bits"] == 2
