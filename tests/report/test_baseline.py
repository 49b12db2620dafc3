"""Baselines: what is compared with what, to which precision, and reports that are none."""

import copy
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfsq.engines.description import Description
from dfsq.errors import UsageError
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.report import gates
from dfsq.report.gates import Check
from dfsq.report.json_report import read_json, to_json
from dfsq.report.report import ModelReport, Report
from dfsq.report.sections.scores import notes


def report(*psnrs: float, names: str = "abcdef", scale: int = 2, supplied: bool = True) -> Report:
    images = tuple(ImageResult(name, Scores(psnr, 0.9, psnr, 0.8)) for name, psnr in zip(names, psnrs, strict=False))
    return Report((ModelReport("m.pth", "edsr", scale, (SetResult("Set5", scale, supplied, images),)),))


NOW = report(30.0, 31.0)


@pytest.mark.parametrize(
    ("worse_by", "tolerance", "passed"),
    [
        (0.0, 0.0, True),
        (5e-7, 0.0, True),
        (2e-6, 0.0, False),
        (-1.0, 0.0, True),
        (0.1, 0.1, True),
        (0.1 + 5e-7, 0.1, True),
        (0.101, 0.1, False),
    ],
)
def test_scores_are_compared_to_a_millionth_of_a_decibel(worse_by: float, tolerance: float, passed: bool) -> None:
    before = report(30.0 + worse_by, 31.0 + worse_by)
    (check,) = gates.against_baseline(NOW, before, tolerance)
    assert check.passed == passed
    assert check.value == pytest.approx(worse_by, abs=1e-9)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (report(30.0, 31.0, scale=4), "the baseline is at ×4 on 'Set5' for m.pth, this run at ×2"),
        (report(30.0), "the baseline has other images on 'Set5' for m.pth: it lacks b, and has no others"),
        (report(30.0, 31.0, 32.0), "it lacks no others, and has c"),
        (report(30.0, 31.0, names="ax"), "it lacks b, and has x"),
        (report(30.0, 31.0, names="aa"), "it lacks b, and has a"),
        (report(30.0, 31.0, supplied=False), "were made by bicubic, now they are those of the set"),
    ],
)
def test_another_scale_or_other_images_cannot_be_compared(before: Report, message: str) -> None:
    with pytest.raises(UsageError) as error:
        gates.against_baseline(NOW, before, 0.0)
    assert message in str(error.value)
    assert "write the baseline again" in str(error.value)


def test_the_order_of_images_does_not_matter() -> None:
    assert gates.against_baseline(NOW, report(31.0, 30.0, names="ba"), 0.0)[0].passed


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (Check("max-drop", "m", "s", 0.13749, 0.1), "max-drop failed by 0.037 dB: m on s: drop 0.137 dB, at most 0.1"),
        (
            Check("max-drop", "m", "s", 0.10001, 0.1),
            "max-drop failed by 1e-05 dB: m on s: drop 0.10001 dB, at most 0.1",
        ),
        (Check("min-psnr", "m", "s", 37.4999, 37.5), "min-psnr failed by 0.0001 dB: m on s: 37.4999 dB, at least 37.5"),
        (Check("max-drop", "m", "s", 0.0, 1e-4), "max-drop passed: m on s: drop 0.0000 dB, at most 0.0001"),
        (Check("max-drop", "m", "s", 0.1, 0.12345678), "max-drop passed: m on s: drop 0.100 dB, at most 0.123"),
        (Check("min-psnr", "m", "s", 1 / 3, 0.25), "min-psnr passed: m on s: 0.333 dB, at least 0.25"),
        (Check("max-drop", "m", "s", math.inf, 1.0), "max-drop failed by ∞ dB: m on s: drop ∞ dB, at most 1"),
        (Check("baseline", "m\n", "s", 0.0, 0.0), "baseline passed: m\\n on s: 0.000 dB below the baseline, at most 0"),
    ],
)
def test_figures_are_rounded(check: Check, text: str) -> None:
    assert str(check) == text


@pytest.mark.parametrize("gate", ["max-drop", "min-psnr", "baseline"])
@pytest.mark.parametrize("limit", [0.0, 1e-5, 0.0125, 0.1, 1 / 3, 37.5, 38.123456789])
@pytest.mark.parametrize("off", [0.0, 1e-12, 4e-7, 3e-6, 0.00049, 0.0005, 0.0499, 1 / 3, 2.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_printed_figures_say_what_the_verdict_does(gate: str, limit: float, off: float, sign: int) -> None:
    check = Check(gate, "m", "s", limit + sign * off, limit)
    value, most = (float(each) for each in re.findall(r"-?\d+(?:\.\d+)?", str(check).partition("m on s: ")[2]))
    holds = value >= most if gate == "min-psnr" else value <= most
    assert holds == check.passed
    if not check.passed:
        assert value != most
    assert most == pytest.approx(limit, rel=0.01)


def test_json_keeps_what_is_rounded_elsewhere() -> None:
    (gate,) = json.loads(to_json(NOW, [Check("max-drop", "m", "s", 1 / 3, 0.1)]))["gates"]
    assert gate["value"] == 1 / 3


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a document is."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Any:
    document = copy.deepcopy(document)
    where = document
    for key in path[:-1]:
        where = where[key]
    change(where, path[-1])
    return document


DOCUMENT = json.loads(to_json(NOW))
KNOWN = replace(
    NOW.models[0],
    engine=Description("openvino", "2026.4.1", "f32", "AVX2"),
    identified={"rgb_range": 255.0, "channels": 3, "found": {"scale": "shapes"}, "fidelity": 31.5},
    artifact={"parts": {"codes": 1}},
    seconds=0.5,
)
WHOLE = json.loads(to_json(Report((KNOWN,))))
REQUIRED = [path for path in places(DOCUMENT)[1:] if path[0] in ("schema", "models")]


@pytest.mark.parametrize("value", [None, "abc", -1, [], {}, 10**30, True, math.nan, math.inf, [[[]]]], ids=repr)
def test_any_value_anywhere_is_read_or_refused_in_one_line(tmp_path: Path, value: object) -> None:
    for path in (path for path in places(WHOLE)[1:] if path[0] in ("schema", "models")):
        document = changed(WHOLE, path, lambda where, key: where.__setitem__(key, value))
        (tmp_path / "r.json").write_text(json.dumps(document))
        try:
            found = read_json(tmp_path / "r.json")
        except UsageError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 400
        else:
            scores = [image.scores for model in found.models for each in model.sets for image in each.images]
            assert scores
            assert not any(math.isnan(each) for score in scores for each in vars(score).values())
            assert notes(found)


@pytest.mark.parametrize(
    "path", [path for path in REQUIRED if path[-1] not in ("drop", "engine") and isinstance(path[-1], str)]
)
def test_what_is_missing_is_named_where_it_is_needed(tmp_path: Path, path: tuple[Any, ...]) -> None:
    document = changed(DOCUMENT, path, lambda where, key: where.pop(key))
    (tmp_path / "r.json").write_text(json.dumps(document))
    mean = len(path) == 5 and path[-1] in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")  # recomputed from the images
    if mean:
        assert read_json(tmp_path / "r.json").models == NOW.models
        return
    with pytest.raises(UsageError, match=f"is no report of dfsq eval --json .no '{path[-1]}'"):
        read_json(tmp_path / "r.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"schema": ' + b"9" * 9999 + b"}",
        b"null",
        b"{}",
        b'{"schema": NaN}',
        b"{",
    ],
)
def test_what_is_no_report(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(UsageError, match="is no report of dfsq eval --json"):
        read_json(tmp_path / "r.json")


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    (model,) = NOW.models
    for twice in (Report((model, model)), Report((replace(model, sets=model.sets * 2),))):
        (tmp_path / "r.json").write_text(to_json(twice))
        with pytest.raises(UsageError, match="two models or sets of one name"):
            read_json(tmp_path / "r.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_that_shells_write_is_read(tmp_path: Path, encoding: str) -> None:
    model = replace(NOW.models[0], name="modèle ×.pth")
    text = json.dumps(json.loads(to_json(Report((model,)))), ensure_ascii=False)
    (tmp_path / "r.json").write_text(text, encoding=encoding)
    assert read_json(tmp_path / "r.json").models == (model,)


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    model = replace(NOW.models[0], name=os.fsdecode(b"latin\xe9.pth"))
    (tmp_path / "r.json").write_text(to_json(Report((model,))), encoding="ascii")
    assert read_json(tmp_path / "r.json").models == (model,)


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "r.json")
    with pytest.raises(UsageError, match="it is a pipe"):
        read_json(tmp_path / "r.json")
