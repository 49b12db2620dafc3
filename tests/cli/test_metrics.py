"""Metrics of pyiqa in the table, JSON and CSV, and back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dfsq.report.json_report import read_json

pytestmark = pytest.mark.usefixtures("pyiqa")
OPTIONS = ("--data", "benchmark", "--set", "Set5", "--metrics", "lpips,musiq")


def test_the_table(dfsq: Callable) -> None:
    run = dfsq("eval", "model.pth", *OPTIONS, "--bicubic")
    assert run.code == 0, run.err
    table = run.out.partition("Metrics of pyiqa")[2].partition("less is better")[0]
    assert "lpips ↓" in table and "musiq ↑" in table
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line[:1] == "│"]
    document = json.loads(dfsq("eval", "model.pth", *OPTIONS, "--json").out)
    means = document["models"][0]["sets"][0]["metrics"]
    assert rows[0] == ["model.pth", "Set5 ×2", *(f"{means[name]:.4g}" for name in ("lpips", "musiq"))]
    assert rows[1] == ["bicubic", "Set5 ×2", "–", "–"]
    assert "Metrics" not in dfsq("eval", "model.pth", *OPTIONS[:-2]).out


def test_json_there_and_back(dfsq: Callable) -> None:
    run = dfsq("eval", "model.pth", *OPTIONS, "--json", "--report", "r.json")
    document = json.loads(run.out)
    assert document["metrics"] == {"lpips": {"lower_better": True}, "musiq": {"lower_better": False}}
    (found,) = document["models"][0]["sets"]
    assert set(found["metrics"]) == {"lpips", "musiq"}
    (read,) = read_json(Path("r.json")).models[0].sets
    assert [each.metrics for each in read.images] == [each["metrics"] for each in found["images"]]
    assert read.metrics == found["metrics"]


def test_csv(dfsq: Callable) -> None:
    out = dfsq("eval", "model.pth", *OPTIONS, "--csv").out
    rows = list(csv.DictReader(io.StringIO(out)))
    document = json.loads(dfsq("eval", "model.pth", *OPTIONS, "--json").out)
    images = document["models"][0]["sets"][0]["images"]
    assert [{name: float(row[name]) for name in ("lpips", "musiq")} for row in rows] == [
        each["metrics"] for each in images
    ]
    assert rows[0]["engine"] == "torch"


def test_rows_per_image_and_markdown(dfsq: Callable) -> None:
    out = dfsq("eval", "model.pth", *OPTIONS, "--md", "--per-image").out
    table = out.partition("Metrics of pyiqa")[2].partition("less is better")[0].splitlines()
    assert [line.split(" | ")[2] for line in table if line.startswith("| model")][1:] == ["img0", "img1", "mean"]


def test_errors(dfsq: Callable) -> None:
    run = dfsq("eval", "model.pth", *OPTIONS[:-1], "lpisp")
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert "--metrics: pyiqa has no 'lpisp'" in run.err
    assert "non-commercial" in "".join(dfsq("eval", "--help").out.split())
