"""The list of networks that is read without importing any, against what they say once imported."""

from __future__ import annotations

import ast

import pytest

from dfsq import catalogue
from dfsq.catalogue import Entry
from dfsq.networks import architectures

ALL = [
    Entry(each.order, each.name, each.title, each.rgb_range, each.body is not None) for each in architectures().values()
]


def test_texts_say_what_modules_do() -> None:
    assert catalogue._of_texts() is not None
    assert catalogue.catalogue() == ALL


@pytest.mark.parametrize(
    "text",
    ["ARCHITECTURE = 3", "ARCHITECTURE = f(name=NAME, title='x')", "ARCHITECTURE = f(title='x')", "ARCHITECTURE = f("],
)
def test_what_a_text_does_not_tell_is_imported(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    read = catalogue._architectures
    monkeypatch.setattr(catalogue, "_architectures", lambda _: read(text))
    assert catalogue._of_texts() is None
    assert catalogue.catalogue() == ALL


def test_plugins_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [group])
    monkeypatch.setattr(catalogue, "_of_texts", lambda: pytest.fail("a plugin is in no text of the package"))
    assert catalogue.catalogue() == ALL


def test_only_what_is_assigned_at_the_top_counts() -> None:
    text = "def f():\n    ARCHITECTURE = g(name='a')\nOTHER = g(name='ARCHITECTURE')\nARCHITECTURE = g(name='b')\n"
    (call,) = catalogue._architectures(text)
    assert [ast.literal_eval(each.value) for each in call.keywords] == ["b"]
