"""Every field of an artifact's header, at any depth, with values that do not belong there."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ABSENT, DEEP = object(), "nested deeply"
NESTED = "[" * 20_000 + "]" * 20_000
ODD: dict[str, Any] = {
    "absent": ABSENT,
    "null": None,
    '"abc"': "abc",
    "-1": -1,
    "[]": [],
    "{}": {},
    "10**30": 10**30,
    "1.5": 1.5,
    "true": True,
    "NaN": float("nan"),
    "1e999": float("inf"),
    "nested": DEEP,
}
EACH_KIND = ("body.0.body.2", "tail.0.0")
LEGAL = {("rgb_range", "1.5"), ("residual_scale", "1.5"), ("signed", "true")}
"""Other values that a field may well have: another network, and no reader can tell."""


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """To everything in ``value``."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from paths(each, (*path, index))


def changed(document: dict[str, Any], path: tuple[str | int, ...], value: Any) -> str:
    """``document`` as JSON, with ``value`` at ``path``."""
    document = copy.deepcopy(document)
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    if value is ABSENT:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(document).replace(json.dumps(DEEP), NESTED).replace("Infinity", "1e999")


def test_every_field_with_every_odd_value(
    forgery: Any, judge: Any, confined: Callable[[Callable[[], list[str]]], list[str]]
) -> None:
    # Nothing decodes from these two, so a few fields stand for many.
    provenance = {"recipe": {"name": "fast", "skip": ["a"], "words": 4}, "calibration": {"patch": [12, 12]}}
    document = {**forgery.document, **provenance}
    # One layer of each kind: the others have the same fields.
    found = [
        path for path in paths(document) if path[0] not in ("layers", "body") or len(path) < 3 or path[1] in EACH_KIND
    ]

    def loop() -> list[str]:
        complaints = []
        for path in found:
            for name, value in ODD.items():
                forged = type(forgery)(changed(document, path, value), forgery.tensors)
                legal = (path[-1], name) in LEGAL
                what = f"{'.'.join(map(str, path))} = {name}"
                complaints += judge.complaints(what, forged.content(), may_differ=legal)
        return complaints

    assert len(found) > 45
    assert confined(loop) == []


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("scale", -1, "scale is -1; it must be an integer from 1 to 16"),
        ("scale", 3, "scale is 3, hyperparameters.scale 2"),
        ("rgb_range", 10**30, "rgb_range is 1000000000000000000000000000000; it must be a number above 0, up to 65535"),
        ("channels", 1, "channels is 1, which the network cannot take"),
        ("channels", True, "channels is true; it must be 1 or 3"),
        ("layers.tail.0.0.w_bits", 9, "layers.tail.0.0.w_bits is 9; it must be an integer from 2 to 8"),
        ("layers.tail.0.0.words", 10**9, "words is 1000000000; it must be an integer from 1 to 5"),
        ("layers.tail.0.0.weights", "affine", "the weights of tail.0.0 are affine; known: uniform, subset"),
        ("layers.tail.0.0.shape", [2**40, 2**40, 3, 3], "more weights than the file has bits"),
        (
            "layers.body.0.body.2.inputs",
            "other",
            "inputs of body.0.body.2 are other; known: affine, bounds, subset",
        ),
        ("layers.body.0.body.2.inputs", None, "all three are null or none is"),
        ("hyperparameters.blocks", 10**9, "hyperparameters.blocks is 1000000000; it must be from 0 to 1e+06"),
        ("hyperparameters.blocks", 10**6, "claims more parameters than the 16 tensors of the file account for"),
        ("hyperparameters.features", 10**6, "claims more parameters than the 16 tensors of the file account for"),
        ("hyperparameters.features", True, "hyperparameters.features is true; it must be int"),
        ("body", ["nowhere"], "nowhere"),
    ],
)
def test_messages_name_field_value_and_limit(forgery: Any, judge: Any, path: str, value: Any, named: str) -> None:
    document = forgery.document
    parent, _, key = path.rpartition(".")
    if parent.startswith("layers."):
        document["layers"][parent.removeprefix("layers.")][key] = value
    else:
        (document[parent] if parent else document)[key] = value
    message = judge.refusal(forgery.with_document(document).content())
    assert named in message
