"""Artifacts with quantized places whose records or tensors cannot be; checksums are right."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

PLACE = "body.0.skip"
RECORD = {"kind": "bounds", "bits": 2, "signed": True, "words": 4}
ODD = (None, "abc", -1, [], {}, 10**30, 1.5, True)

RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "kind unknown": ({"kind": "other"}, "the places of body.0.skip are other; known: affine, bounds, subset"),
    "kind of other tensors": ({"kind": "affine"}, "body.0.skip.place: there is no use for the tensor"),
    "too many bits": ({"bits": 9}, "places.body.0.skip.bits is 9; it must be an integer from 2 to 8"),
    "not signed": ({"signed": False}, "lower is -9, but signed is false"),
    "words": ({"words": 10**9}, "places.body.0.skip.words is 1000000000; it must be an integer from 1 to 5"),
}
NAMES = {
    "nowhere": "nowhere",
    "": "the network has a EDSR there and no place",
    "body.0": "places.body.0: the network has a ResidualBlock there and no place",
    "body.0.body.2": "no place",
}
TENSORS: dict[str, tuple[dict[str, Tensor | None], str]] = {
    "bounds out of order": ({"lower": torch.tensor(30.0)}, "signed is true"),
    "equal bounds": ({"upper": torch.tensor(-9.0)}, "must ascend"),
    "no upper bound": ({"upper": None}, "upper is missing"),
    "a gate of other channels": ({"gate.first": torch.zeros(4).byte()}, "gate.first is"),
    "half a gate": ({"gate.shift": None}, "gate.shift is missing"),
    "a fourth level": ({"gate.first": torch.full((64,), 255).byte()}, "gate.first has a code of 3"),
    "something else": ({"bonus": torch.ones(2)}, "no use for the tensor 'bonus'"),
}


def refused(judge: Any, forged: Any, said: str) -> None:
    message = judge.refusal(forged.content())
    assert re.search(re.escape(said), message), message
    assert message.isprintable()


def with_places(forgery: Any, places: Any) -> Any:
    return forgery.with_document({**forgery.document, "places": places})


def test_the_record_is_as_described(placed_forgery: Any) -> None:
    assert placed_forgery.document["places"][PLACE] == RECORD
    assert placed_forgery.document["version"] == 6


@pytest.mark.parametrize("what", RECORDS)
def test_records_that_do_not_fit(placed_forgery: Any, placed_judge: Any, what: str) -> None:
    changes, said = RECORDS[what]
    places = placed_forgery.document["places"]
    refused(placed_judge, with_places(placed_forgery, {**places, PLACE: {**RECORD, **changes}}), said)


@pytest.mark.parametrize("name", NAMES)
def test_places_that_are_none(placed_forgery: Any, placed_judge: Any, name: str) -> None:
    places = placed_forgery.document["places"]
    own = {key.replace(PLACE, name): tensor for key, tensor in placed_forgery.tensors.items() if key.startswith(PLACE)}
    moved = {key: value for key, value in places.items() if key != PLACE} | {name: RECORD}
    removed = {key: None for key in placed_forgery.tensors if key.startswith(PLACE)}
    refused(placed_judge, with_places(placed_forgery, moved).with_tensors(**removed, **own), NAMES[name])


def test_tensors_of_a_place_that_is_not_quantized(placed_forgery: Any, placed_judge: Any) -> None:
    places = placed_forgery.document["places"]
    del places[PLACE]
    refused(placed_judge, with_places(placed_forgery, places), f"unexpected: {PLACE}.place.")
    document = placed_forgery.document
    del document["places"]
    refused(placed_judge, placed_forgery.with_document(document), "unexpected: body.0.")


@pytest.mark.parametrize("what", TENSORS)
def test_tensors_that_do_not_fit(placed_forgery: Any, placed_judge: Any, what: str) -> None:
    changes, said = TENSORS[what]
    tensors = {f"{PLACE}.place.{name}": tensor for name, tensor in changes.items()}
    refused(placed_judge, placed_forgery.with_tensors(**tensors), said)


def test_odd_values_everywhere(placed_forgery: Any, placed_judge: Any) -> None:
    places = placed_forgery.document["places"]
    cases = [("places", with_places(placed_forgery, value)) for value in ODD]
    cases += [("a place", with_places(placed_forgery, {**places, PLACE: value})) for value in ODD]
    for field in RECORD:
        without = {key: value for key, value in RECORD.items() if key != field}
        changed = [without, *({**RECORD, field: value} for value in ODD)]
        cases += [(field, with_places(placed_forgery, {**places, PLACE: each})) for each in changed]
    assert placed_judge.all_complaints((what, forged.content()) for what, forged in cases) == []
