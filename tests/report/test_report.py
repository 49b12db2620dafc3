import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import pytest

from dfsq.engines.description import Description
from dfsq.errors import UsageError
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.report import gates
from dfsq.report.findings import Findings
from dfsq.report.html import to_html
from dfsq.report.json_report import read_json, to_json
from dfsq.report.markdown import to_markdown
from dfsq.report.report import ModelReport, Report
from dfsq.report.section import texts
from dfsq.report.sections import sections
from dfsq.report.sections.scores import table
from dfsq.report.spreadsheet import images, to_csv


def model(name: str, *psnrs: float, bits: int | None = None) -> ModelReport:
    images = tuple(ImageResult(f"img{i}", Scores(p, 0.9, p - 2, 0.8)) for i, p in enumerate(psnrs))
    return ModelReport(name, "edsr", 2, (SetResult("Set5", 2, True, images),), bits, bits, 1000)


REPORT = Report((model("full.pth", 38.0, 40.0), model("low|bits.safetensors", 37.5, 39.0, bits=4)))
PERFECT = Report((model("full.pth", math.inf), model("low.safetensors", math.inf, bits=8)))


def test_means_and_drops() -> None:
    assert REPORT.sets[0].mean.psnr_y == 39.0
    drop = REPORT.drop(REPORT.models[1], "Set5")
    assert drop is not None
    assert (drop.psnr_y, drop.psnr_rgb, drop.ssim_y) == (0.75, 0.75, 0.0)
    assert REPORT.drop(REPORT.models[0], "Set5") is None
    assert REPORT.drop(REPORT.models[1], "Set14") is None


def test_table() -> None:
    section = table(REPORT)
    assert [column.name for column in section.columns] == ["model", "bits", "set", "Y-PSNR", "SSIM", "RGB-PSNR", "drop"]
    assert [texts(row) for row in section.rows] == [
        ("full.pth", "FP32", "Set5 ×2", "39.00", "0.9000", "37.00", "–"),
        ("low|bits.safetensors", "W4A4", "Set5 ×2", "38.25", "0.9000", "36.25", "+0.750"),
    ]
    section = table(REPORT, per_image=True)
    assert [row[3] for row in section.rows] == ["img0", "img1", "mean"] * 2
    assert {len(row) for row in section.rows} == {len(section.columns)}


def test_json_round_trip_and_infinity(tmp_path: Path) -> None:
    for report in (REPORT, PERFECT):
        (tmp_path / "r.json").write_text(to_json(report))
        assert read_json(tmp_path / "r.json").models == report.models
    document = json.loads(to_json(PERFECT))
    assert document["models"][0]["sets"][0]["psnr_y"] is None
    assert document["models"][1]["sets"][0]["drop"]["psnr_y"] == 0.0


FULL = Report(
    (
        ModelReport(
            name="a",
            network="edsr",
            scale=2,
            sets=(SetResult("Set5", 2, False, (ImageResult("x", Scores(math.inf, 1.0, 50.5, 0.25)),)),),
            w_bits=3.5,
            a_bits=4,
            size=12345,
            engine=Description("openvino", "2026.4.1", "int8/f32", "AVX2"),
            identified={"rgb_range": 255.0, "channels": 3, "found": {"scale": "shapes"}, "fidelity": 31.5},
            artifact={"layers": {"body.0": {"w_bits": 4, "a_bits": None}}, "parts": {"codes": 10, "other": 2}},
            seconds=0.25,
            multiply_adds={"inside": 0.5, "bit_operations": 0.25, "parameters": {"inside": 0.75, "outside": 0.125}},
        ),
        model("b", 30.0),
    ),
    {"seconds": {"b": 1.5}, "recipes": [{"name": "fast", "skip": []}], "nothing": None, "quantization": {"x": [1, 2]}},
)


def filled(value: object) -> bool:
    """Whether a field says something that its default does not."""
    return value not in (None, {}, (), [], "")


def test_every_field_of_a_report_survives_json(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(to_json(FULL, gates.max_drop(FULL, 0.5)))
    found = read_json(tmp_path / "r.json")
    for each in dataclasses.fields(Report):
        assert filled(getattr(FULL, each.name)), f"{each.name} is not tried"
        assert getattr(found, each.name) == getattr(FULL, each.name), each.name
    for each in dataclasses.fields(ModelReport):
        assert filled(getattr(FULL.models[0], each.name)), f"{each.name} is not tried"
        for before, after in zip(FULL.models, found.models, strict=True):
            assert getattr(after, each.name) == getattr(before, each.name), each.name
    assert to_json(found) == to_json(FULL)


def test_json_of_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(to_json(REPORT).replace("dfsq-eval/1", "dfsq-eval/7"))
    with pytest.raises(UsageError, match="schema 'dfsq-eval/7', this dfsq reads dfsq-eval/1"):
        read_json(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(UsageError, match="is no report"):
        read_json(tmp_path / "r.json")


def test_csv_is_unrounded() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(images(Report((model("a", 1 / 3),)))))))
    assert float(rows[0]["psnr_y"]) == 1 / 3
    assert rows[0]["w_bits"] == ""


def test_csv_tells_what_models_are_made_of() -> None:
    low = dataclasses.replace(
        model("b", 30.0),
        size=12,
        artifact={"recipe": {"name": "mine"}, "parts": {"codes": 10, "other": 2}},
        multiply_adds=FULL.models[0].multiply_adds,
    )
    report = Report((model("a", 31.0), low), {"seconds": 1.5})
    first, second = csv.DictReader(io.StringIO(to_csv(images(report))))
    names = ("recipe", "seconds", "bytes", "parameters", "multiply_adds", "bit_operations", "codes", "other")
    assert [first[name] for name in names] == ["", "", "1000", "", "", "", "", ""]
    assert [second[name] for name in names] == ["mine", "1.5", "12", "0.875", "0.5", "0.25", "10", "2"]


def test_what_is_quantized_is_told_where_no_other_table_does() -> None:
    low = dataclasses.replace(
        FULL.models[0], name="b", artifact={"recipe": {"name": "mine"}, "parts": {"codes": 1000, "other": 200}}
    )
    report = Report((model("a", 31.0), low))
    lines = to_markdown(sections(Findings(report))).splitlines()
    assert "| b | mine | 87.5 % | 50.0 % | 25.0 % |" in lines
    assert "b consists of codes 1.0 kB, other 0.2 kB." in lines
    made = Report(report.models, {"quantization": {}})
    for other in (made, Report((model("a", 31.0),))):
        assert "What is quantized" not in [each.title for each in sections(Findings(other))]


def test_markdown_escapes_what_would_break_its_table() -> None:
    lines = to_markdown(sections(Findings(REPORT, facts={"size": "1 kB"})), "Title").splitlines()
    assert lines[0] == "## Title"
    assert "| size | 1 kB |" in lines
    assert any(line.startswith("| low\\|bits.safetensors | W4A4 |") for line in lines)


def test_html_is_self_contained_and_escaped() -> None:
    page = to_html(sections(Findings(Report((model("<b>.pth", 38.0),)), facts={"size": "1 < 2"})), "a & b")
    assert "<b>" not in page
    assert "&lt;b&gt;.pth" in page
    assert "a &amp; b" in page
    assert "src=" not in page
    assert "<link" not in page


def test_gates() -> None:
    (check,) = gates.max_drop(REPORT, 0.75)
    assert check.passed
    (check,) = gates.max_drop(REPORT, 0.5)
    assert not check.passed
    assert str(check) == "max-drop failed by 0.250 dB: low|bits.safetensors on Set5: drop 0.750 dB, at most 0.5"
    verdicts = {check.model: check.passed for check in gates.min_psnr(REPORT, {"set5": 38.5})}
    assert verdicts == {"full.pth": True, "low|bits.safetensors": False}
    better = Report((model("full.pth", 39.0, 40.0),))
    assert [check.value for check in gates.against_baseline(Report(REPORT.models[:1]), better, 0.4)] == [0.5]


def test_gates_of_perfect_images() -> None:
    assert all(check.passed for check in gates.max_drop(PERFECT, 0.0))
    assert all(check.passed for check in gates.against_baseline(PERFECT, PERFECT, 0.0))
    worse = Report((model("full.pth", math.inf), model("low.safetensors", 50.0, bits=4)))
    assert not any(check.passed for check in gates.max_drop(worse, 100.0))
