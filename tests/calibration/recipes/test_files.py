import os
from pathlib import Path

import pytest
import yaml

from calibration import recipe
from calibration.recipes.files import purpose_of, shipped, text_of
from dfsq.errors import UsageError


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_state_their_purpose_and_what_differs(name: str) -> None:
    assert purpose_of(text_of(name)).endswith(".")
    stated = yaml.safe_load(text_of(name))
    chosen = recipe(name)
    assert stated.pop("method") == chosen.method
    assert chosen == type(chosen)(name=name, **stated)
    usual = type(chosen)().to_dict()
    assert all(usual[key] != value for key, value in stated.items())


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028"])
def test_a_purpose_is_the_first_line_alone(end: str) -> None:
    assert purpose_of(f"# For a test.{end}w_bits: 3\n") == "For a test."
    assert purpose_of(f"w_bits: 3{end}# For a test.\n") == purpose_of("") == ""


def test_accurate_is_the_default() -> None:
    assert recipe() == recipe("accurate")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("w_bits: 3\nskip: [body.0.*]\nlayer_bits: {'body.1.*': 6}\n")
    mine = recipe(str(tmp_path / "mine.yaml"), a_bits=5)
    assert (mine.name, mine.w_bits, mine.a_bits, mine.selector) == ("mine", 3, 5, "exact")
    assert (mine.skip, mine.layer_bits) == (("body.0.*",), (("body.1.*", 6),))


@pytest.mark.parametrize(
    "text, message",
    [
        ("w_bit: 3", "unknown key 'w_bit'; did you mean 'w_bits'?"),
        ("zzz: 3", "unknown key 'zzz'; known: name"),
        (
            "method: best",
            "mine.yaml: unknown method 'best'; known: ",
        ),
        ("method: [one-pass]", "unknown method ['one-pass']"),
        ("method: null", "unknown method None"),
        ("method: integers\nfeedback: true", "'feedback' means nothing to the method integers, only to one-pass"),
        ("method: one-pass\ncompensation: true", "'compensation' means nothing to the method one-pass, only to"),
        ("method: one-pass\ngranularity: channel", "unknown key 'granularity'"),
        ("method: one-pass\nrestarts: 5", "'restarts' means nothing without 'selector' kmeans"),
        ("w_bits: four", "w_bits is 'four'; it must be int"),
        ("w_bits: true", "w_bits is True; it must be int"),
        ("headroom: wide", "headroom is 'wide'; it must be float or none"),
        ("compensation: 1", "compensation is 1; it must be bool"),
        ("a: [", "is no YAML"),
        ("- 3", "is no recipe"),
        ("", "is no recipe"),
        ("avg_bits: .nan", "avg_bits is nan; choose 2 to 8 bits"),
        ("headroom: .inf", "headroom is inf; choose 1 to 1000"),
        ("headroom: 0", "headroom is 0; choose 1 to 1000"),
        (f"patches: {10**30}", "choose 1 to 20000"),
        (f"patches: {'9' * 5000}", "is no YAML"),
        ("patches: 0", "patches is 0; choose 1 to 20000"),
        ("patch_size: -1", "patch_size is -1"),
        ("restarts: 0", "restarts is 0"),
        ("words: 6", "words is 6; choose 1 to 5"),
        ("seed: -1", "seed is -1"),
        ("seed: 4294967296", "choose 0 to 4294967295"),
        ("seed: 1.5", "seed is 1.5; it must be int"),
        ("outside_bits: true", "outside_bits is True; it must be int or none"),
        ("selector: [exact]", "selector is ['exact']; it must be str"),
        ("skip: body.*", "skip is 'body.*'; it must be a list of patterns"),
        ("skip: [1]", "it must be a list of patterns"),
        ("layer_bits: {a: '8'}", "it must be patterns with whole numbers"),
        ("layer_bits: {a: true}", "it must be patterns with whole numbers"),
        ("layer_bits: {1: 8}", "it must be patterns with whole numbers"),
        ("layer_bits: {a: 9}", "layer_bits 'a' is 9; choose 2 to 8 bits"),
        ("layer_bits: {a: 8, a: 7}", "'a' is there twice"),
        ("w_bits: 3\nw_bits: 4", "'w_bits' is there twice"),
        ("name: 2001-99-99", "is no YAML"),
        ("name: !!bool maybe", "is no YAML"),
        ("name: !!timestamp now", "is no YAML"),
        ("!!python/object/apply:os.system [touch executed]", "is no YAML"),
        ("? [a]\n: 3", "is no YAML"),
        ("w_bits: \x1b", "is no YAML"),
        ("skip: &a [*a]", "aliases"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nw_bits: [*b, *b]", "aliases"),
        ("[" * 5000, "nested too deeply"),
        ("w_bits: " + "x" * 99, "w_bits is 'xxx"),
        ("x" * 200_000, "is larger than 0.1 MB"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        recipe(str(tmp_path / "mine.yaml"))
    assert message in str(error.value)
    assert len(str(error.value)) < 600


def test_files_are_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        (tmp_path / "M.YAML").write_bytes(mark + "name: modèle\n".encode())
        assert recipe(str(tmp_path / "M.YAML")).name == "modèle"
    (tmp_path / "M.YAML").write_bytes("name: modèle\n".encode("latin-1"))
    with pytest.raises(UsageError, match="is no YAML in UTF-8"):
        recipe(str(tmp_path / "M.YAML"))


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name, reason in (("pipe", "it is a pipe"), ("zero", "it is a device")):
        with pytest.raises(UsageError, match=reason):
            recipe(str(tmp_path / f"{name}.yaml"))


def test_a_missing_file() -> None:
    with pytest.raises(UsageError, match="cannot read the recipe"):
        recipe("nowhere.yaml")
