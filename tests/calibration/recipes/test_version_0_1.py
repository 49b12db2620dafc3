"""Recipes as 0.1 wrote them: flat, without a method, every choice there whether it meant something or not."""

from pathlib import Path

import pytest

from calibration import FixedRanges, Integers, OnePass, Recipe, Sequential, recipe
from dfsq.errors import UsageError

ACCURATE = """\
# The closest: weights and activations are rounded so that errors cancel, layer after layer. Slower, also to run.
name: accurate
w_bits: 4                 # weights in body scope, 2…8
a_bits: 4                 # activations in body scope, 2…8
avg_bits: null            # bits on average, distributed over layers; null: as above
weights: subset           # minmax, mse or subset
compensation: true        # layers one after the other, on quantized inputs
feedback: true            # round channels one after the other, errors passed on
granularity: channel      # channel: normalized by every sample's channels; tensor: a fixed range
selector: exact           # exact, kmeans, exhaustive; or a grid: minmax, percentile, mse, log2
restarts: 5               # of kmeans
headroom: 1.5             # saturate beyond this multiple of the spread seen; null: never
words: 4                  # of the universal set
outside_bits: 8           # weights outside the body scope; null: full precision
scope: body               # all: activations outside the body too, at outside_bits
float_share: 0            # of the multiply-adds, in full precision where that helps most for its time
target: openvino          # engine that runs integers: openvino or onnxruntime
patches: 32
patch_size: 192           # HR pixels
seed: 0
skip: []                  # patterns of layers that stay in full precision
layer_bits: {}            # pattern: bits
"""

INT8 = """\
# Integers that engines run: `dfsq export` writes them for ONNX Runtime and OpenVINO.
name: int8
w_bits: 7                 # weights; 8 overflows, and ruins pictures, on processors without VNNI or AMX
a_bits: 8                 # activations
avg_bits: null            # bits on average, distributed over layers; null: as above
weights: symmetric        # about zero, as engines take them
compensation: true        # layers one after the other, on quantized inputs
feedback: false           # round channels one after the other, errors passed on
granularity: tensor       # a fixed range
selector: equalized       # one scale and zero point, with factors that let every channel use all codes
restarts: 5               # of kmeans
headroom: 1.0             # saturate beyond this multiple of what calibration saw, vivid colours included
words: 4                  # of the universal set
outside_bits: null        # outside the body as inside
scope: all                # activations outside the body too
float_share: 0.1          # of the time at most, in full precision where that helps most for it
target: openvino          # engine that runs integers: openvino or onnxruntime
patches: 32
patch_size: 192           # HR pixels
seed: 0
skip: []                  # patterns of layers that stay in full precision
layer_bits: {}            # pattern: bits
"""

PERCENTILE = """\
# A baseline: uniform activations in a fixed range per tensor, from the 0.1th to the 99.9th percentile.
name: percentile
w_bits: 4                 # weights in body scope, 2…8
a_bits: 4                 # activations in body scope, 2…8
avg_bits: null            # bits on average, distributed over layers; null: as above
weights: mse              # minmax, mse or subset
compensation: false       # layers one after the other, on quantized inputs
feedback: false           # round channels one after the other, errors passed on
granularity: tensor       # channel: normalized by every sample's channels; tensor: a fixed range
selector: percentile      # exact, kmeans, exhaustive; or a grid: minmax, percentile, mse, log2
restarts: 5               # of kmeans
headroom: null            # saturate beyond this multiple of the spread seen; null: never
words: 4                  # of the universal set
outside_bits: null        # weights outside the body scope; null: full precision
scope: body               # all: activations outside the body too, at outside_bits
float_share: 0            # of the multiply-adds, in full precision where that helps most for its time
target: openvino          # engine that runs integers: openvino or onnxruntime
patches: 32
patch_size: 192           # HR pixels
seed: 0
skip: []                  # patterns of layers that stay in full precision
layer_bits: {}            # pattern: bits
"""


def read(folder: Path, text: str) -> Recipe:
    (folder / "old.yaml").write_text(text, encoding="utf-8")
    return recipe(str(folder / "old.yaml"))


@pytest.mark.parametrize(("name", "text"), [("accurate", ACCURATE), ("int8", INT8), ("percentile", PERCENTILE)])
def test_shipped_files_mean_what_ships_now(tmp_path: Path, name: str, text: str) -> None:
    since = {"block": None, "columns": False, "headroom": 1.5} if name == "accurate" else {}  # as it was then
    assert read(tmp_path, text) == recipe(name, patches=32, **since)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", OnePass(headroom=1.5)),
        ("compensation: true", Sequential(headroom=1.5)),
        ("restarts: 9\nfloat_share: 0.5", OnePass(headroom=1.5)),
        ("selector: kmeans\nrestarts: 9", OnePass(selector="kmeans", restarts=9, headroom=1.5)),
        ("granularity: tensor", FixedRanges(selector="exact", weights="subset", outside_bits=8)),
        (
            "granularity: tensor\ncompensation: true\nheadroom: 3\nselector: mse\nweights: mse\nwords: 2\nw_bits: 4",
            FixedRanges(selector="mse", weights="mse", outside_bits=8, compensation=True),
        ),
        (
            "granularity: tensor\nselector: log2\nwords: 3\nfloat_share: 1",
            FixedRanges(selector="log2", weights="subset", outside_bits=8, words=3),
        ),
        (
            "granularity: tensor\nselector: equalized\nweights: symmetric\nheadroom: null\nwords: 2",
            Integers(w_bits=4, a_bits=4, compensation=False, outside_bits=8, scope="body", float_share=0.0),
        ),
    ],
)
def test_what_was_ignored_is_dropped(tmp_path: Path, text: str, expected: Recipe) -> None:
    assert read(tmp_path, f"name: unnamed\n{text}") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("granularity: tensor\nfeedback: true", "'feedback' means nothing to the method fixed-ranges"),
        ("granularity: tensor\navg_bits: 4", "'avg_bits' means nothing to the method fixed-ranges"),
        ("granularity: pixel", "unknown granularity 'pixel'; known: channel, tensor"),
        ("target: onnxruntime", "'target' means nothing to the method one-pass"),
        ("target: tpu", "unknown target 'tpu'; known: openvino, onnxruntime"),
        ("selector: equalized", "it needs granularity tensor and weights symmetric"),
        ("granularity: tensor\nheadroom: 0", "headroom is 0; choose 1 to 1000"),
        ("colour: 100", "unknown key 'colour'"),
    ],
)
def test_what_was_refused_still_is(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)
