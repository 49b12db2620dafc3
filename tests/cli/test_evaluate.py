import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dfsq as api
from cli.evaluate import _size
from dfsq.images.files import read_image, write_png
from dfsq.networks.multiply_adds import of_model
from dfsq.report.json_report import read_json
from dfsq.runtime import without_compiled_code

BENCHMARK = ("--data", "benchmark", "--set", "Set5")


@pytest.fixture
def artifact(dfsq: Callable) -> str:
    assert dfsq("quantize", "model.pth", "-o", "q.safetensors", "--bits", "2", "--patches", "2", "--no-eval").code == 0
    return "q.safetensors"


def test_one_table_with_drops_against_the_first(dfsq: Callable, artifact: str) -> None:
    run = dfsq("eval", "model.pth", artifact, "--data", "benchmark", "--set", "Set5,Set14")
    assert run.code == 0
    rows = [line.split("│")[1:-1] for line in run.out.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert [row[:3] for row in cells[:4]] == [
        ["model.pth", "FP32", "Set5 ×2"],
        ["model.pth", "FP32", "Set14 ×2"],
        ["q.safetensors", "W2A2", "Set5 ×2"],
        ["q.safetensors", "W2A2", "Set14 ×2"],
    ]
    assert [row[-1] for row in cells[:2]] == ["–", "–"]
    assert float(cells[2][-1]) == pytest.approx(float(cells[0][3]) - float(cells[2][3]), abs=0.011)
    assert "LR images made by MATLAB bicubic: Set5, Set14." in run.out
    assert "\x1b" not in run.out + run.err


def test_json_alone_on_stdout_unrounded(dfsq: Callable, artifact: str) -> None:
    run = dfsq("eval", "model.pth", artifact, *BENCHMARK, "--json")
    document = json.loads(run.out)
    assert document["schema"] == "dfsq-eval/1"
    first, second = document["models"]
    (expected,) = api.evaluate(api.load("q.safetensors"), "benchmark", ["Set5"])
    assert second["sets"][0]["psnr_y"] == expected.mean.psnr_y
    assert second["sets"][0]["drop"]["ssim_y"] == first["sets"][0]["ssim_y"] - expected.mean.ssim_y
    assert [image["name"] for image in second["sets"][0]["images"]] == ["img0", "img1"]
    assert (first["w_bits"], second["w_bits"], second["a_bits"], second["scale"]) == (None, 2, 2, 2)
    assert second["bytes"] == Path(artifact).stat().st_size


def test_csv_and_markdown_alone_on_stdout(dfsq: Callable, artifact: str) -> None:
    rows = list(csv.DictReader(io.StringIO(dfsq("eval", "model.pth", artifact, *BENCHMARK, "--csv").out)))
    assert [(row["model"], row["image"]) for row in rows] == [
        ("model.pth", "img0"),
        ("model.pth", "img1"),
        (artifact, "img0"),
        (artifact, "img1"),
    ]
    markdown = dfsq("eval", "model.pth", *BENCHMARK, "--md").out.splitlines()
    assert markdown[:2] == ["### Scores", ""]
    assert markdown[2] == "| model | bits | set | Y-PSNR | SSIM | RGB-PSNR |"
    assert markdown[4].startswith("| model.pth | FP32 | Set5 ×2 | ")


def test_pages_say_what_rounds_activations(dfsq: Callable, artifact: str) -> None:
    run = dfsq("eval", artifact, *BENCHMARK, "--report", "r.html")
    told = "compiled C code" if "slower" not in run.err else "torch"
    assert f"activations rounded by {told}" in Path("r.html").read_text()
    with without_compiled_code():
        dfsq("eval", artifact, *BENCHMARK, "--no-compile", "--report", "r.html")
    assert "activations rounded by torch" in Path("r.html").read_text()


def test_what_is_quantized_is_told(dfsq: Callable, artifact: str) -> None:
    shares = of_model(api.load(artifact))
    figures = [f"{100 * share:.1f} %" for share in (sum(shares.parameters), shares.inside, shares.bit_operations)]
    run = dfsq("eval", "model.pth", artifact, *BENCHMARK)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run.out.splitlines() if line.startswith("│")]
    (row,) = [row for row in rows if row[2:] == figures]
    assert row[0] == artifact and row[1]
    assert f"{artifact} consists of codes " in run.out
    full, low = json.loads(dfsq("eval", "model.pth", artifact, *BENCHMARK, "--json").out)["models"]
    assert "multiply_adds" not in full
    assert low["multiply_adds"]["bit_operations"] == shares.bit_operations


def test_reports_tell_what_an_artifact_is_made_of(dfsq: Callable, artifact: str) -> None:
    reports = ("--report", "r.html", "--report", "r.json")
    assert dfsq("eval", "model.pth", artifact, *BENCHMARK, *reports).code == 0
    full, low = read_json(Path("r.json")).models
    assert full.artifact is None
    assert low.artifact is not None
    assert low.size == Path(artifact).stat().st_size == sum(low.artifact["parts"].values())
    page = Path("r.html").read_text(encoding="utf-8")
    for name in low.artifact["layers"]:
        assert f"<td>{name}</td>" in page
    for title in ("Images that lost most", "Every image", "Size by part", "Bits per layer", "Activations"):
        assert f"<h2>{title}</h2>" in page
    for path in ("model.pth", artifact):
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() in page


def test_sizes_of_embedded_checkpoints_and_of_graphs_in_two_files(dfsq: Callable, tmp_path: Path) -> None:
    (embedded,) = json.loads(dfsq("eval", "edsr-baseline-x2", "--hr", "photos", "--json", "-q").out)["models"]
    assert (
        embedded["bytes"]
        == Path(api.__file__).with_name("data").joinpath("edsr_baseline_x2.safetensors").stat().st_size
    )
    for name, content in (("graph.xml", b"12"), ("graph.bin", b"345"), ("other.onnx", b"6"), ("other.bin", b"78")):
        (tmp_path / name).write_bytes(content)
    assert (_size("graph.xml"), _size("other.onnx"), _size("none.pth")) == (5, 1, None)


def test_per_image_rows(dfsq: Callable) -> None:
    run = dfsq("eval", "model.pth", *BENCHMARK, "--per-image")
    assert all(name in run.out for name in ("img0", "img1", "mean"))


def test_without_data_the_sample_photographs_serve(dfsq: Callable) -> None:
    run = dfsq("eval", "model.pth")
    assert run.code == 0
    assert "samples ×2" in run.out
    assert "a smoke figure, not a benchmark" in run.err
    assert dfsq("eval", "model.pth", "--quiet").err == ""


def test_folders_of_ones_own(dfsq: Callable) -> None:
    run = dfsq("eval", "model.pth", "--hr", "photos")
    assert "photos ×2" in run.out


def test_images_are_saved(dfsq: Callable) -> None:
    assert dfsq("eval", "model.pth", *BENCHMARK, "--save-images", "out/pictures").code == 0
    image = read_image(Path("out/pictures/model/Set5/img0.png"))
    truth = read_image(Path("benchmark/Set5/HR/img0.png"))
    assert image.shape == truth.shape
    from dfsq.evaluation.metrics import score

    (expected,) = api.evaluate(api.load("model.pth"), "benchmark", ["Set5"])
    assert score(image, truth, 2) == expected.images[0].scores


def test_bicubic_is_a_row_but_not_gated(dfsq: Callable, artifact: str) -> None:
    run = dfsq("eval", "model.pth", artifact, *BENCHMARK, "--bicubic", "--max-drop", "100", "--json")
    document = json.loads(run.out)
    assert [model["name"] for model in document["models"]] == ["model.pth", artifact, "bicubic"]
    assert {gate["model"] for gate in document["gates"]} == {artifact}


class TestGates:
    def drop(self, dfsq: Callable, artifact: str) -> float:
        run = dfsq("eval", "model.pth", artifact, *BENCHMARK, "--json")
        return float(json.loads(run.out)["models"][1]["sets"][0]["drop"]["psnr_y"])

    def test_max_drop(self, dfsq: Callable, artifact: str) -> None:
        drop = self.drop(dfsq, artifact)
        assert dfsq("eval", "model.pth", artifact, *BENCHMARK, "--max-drop", repr(drop)).code == 0
        run = dfsq("eval", "model.pth", artifact, *BENCHMARK, "--max-drop", repr(drop - 0.25), "-q")
        assert run.code == 3
        assert run.err == (
            f"dfsq: max-drop failed by 0.250 dB: {artifact} on Set5: drop {drop:.3f} dB, at most "
            f"{f'{drop - 0.25:.3f}'.rstrip('0')}\n"
        )

    def test_min_psnr(self, dfsq: Callable) -> None:
        assert dfsq("eval", "model.pth", *BENCHMARK, "--min-psnr", "set5=1").code == 0
        run = dfsq("eval", "model.pth", *BENCHMARK, "--min-psnr", "Set5=99")
        assert run.code == 3
        assert "min-psnr failed by" in run.err
        run = dfsq("eval", "model.pth", *BENCHMARK, "--min-psnr", "Set14=9")
        assert (run.code, run.err) == (2, "dfsq: min_psnr Set14: that set is not evaluated here; evaluated: Set5\n")

    def test_baseline(self, dfsq: Callable, artifact: str) -> None:
        assert dfsq("eval", artifact, *BENCHMARK, "--report", "before.json").code == 0
        assert dfsq("eval", artifact, *BENCHMARK, "--baseline", "before.json").code == 0
        document = json.loads(Path("before.json").read_text())
        for image in document["models"][0]["sets"][0]["images"]:
            image["psnr_y"] += 0.5
        Path("before.json").write_text(json.dumps(document))
        assert dfsq("eval", artifact, *BENCHMARK, "--baseline", "before.json", "--tolerance", "0.6").code == 0
        run = dfsq("eval", artifact, *BENCHMARK, "--baseline", "before.json", "--tolerance", "0.4", "--json")
        assert run.code == 3
        (gate,) = json.loads(run.out)["gates"]
        assert (gate["gate"], gate["passed"]) == ("baseline", False)
        assert gate["value"] == pytest.approx(0.5)

    def test_baseline_of_other_models_or_sets_is_a_usage_error(self, dfsq: Callable, artifact: str) -> None:
        assert dfsq("eval", "model.pth", *BENCHMARK, "--report", "before.json").code == 0
        run = dfsq("eval", artifact, *BENCHMARK, "--baseline", "before.json")
        assert (run.code, run.err) == (2, f"dfsq: the baseline has no model '{artifact}'; it has model.pth\n")
        run = dfsq("eval", "model.pth", "--data", "benchmark", "--set", "Set14", "--baseline", "before.json")
        assert run.code == 2
        assert "no set 'Set14'" in run.err


def test_job_summary_is_appended_to(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("summary.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert dfsq("eval", "model.pth", *BENCHMARK, "--min-psnr", "Set5=99").code == 3
    summary = Path("summary.md").read_text()
    assert summary.startswith("before\n## dfsq eval\n")
    assert "| model.pth | FP32 | Set5 ×2 |" in summary
    assert "❌ min-psnr failed by" in summary


def test_models_of_different_scales_are_not_compared(dfsq: Callable, data: Path) -> None:
    run = dfsq("eval", "model.pth", data / "checkpoints" / "IMDN_x4.pth")
    assert (run.code, run.err) == (
        2,
        "dfsq: models of different scales cannot be compared: model.pth ×2, IMDN_x4.pth ×4; evaluate them one by one\n",
    )


def test_data_from_the_environment(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFSQ_DATA", "benchmark")
    assert "Set5 ×2" in dfsq("eval", "model.pth", "--set", "Set5").out
    run = dfsq("eval", "model.pth", "--hr", "photos")
    assert (run.code, "photos ×2" in run.out) == (0, True)


def test_image_of_one_colour_is_reproduced_perfectly_by_bicubic(dfsq: Callable) -> None:
    from dfsq.images.files import write_png

    Path("flat").mkdir()
    write_png(Path("flat/grey.png"), np.full((40, 40, 3), 90, np.uint8))
    run = dfsq("eval", "model.pth", "--hr", "flat", "--bicubic", "--json")
    assert json.loads(run.out)["models"][1]["sets"][0]["psnr_y"] is None  # infinite, which JSON cannot say
    assert "∞" in dfsq("eval", "model.pth", "--hr", "flat", "--bicubic").out


@pytest.mark.parametrize("flags", [(), ("--compile",), ("--no-compile",)])
def test_without_a_compiler_it_goes_on_and_says_so_once(
    dfsq: Callable, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    run = dfsq("eval", "model.pth", "--data", "benchmark", "--set", "Set5", *flags, "--json")
    assert run.code == 0
    told = run.err.count("activations are rounded by torch, slower: no C compiler was found")
    assert told == (flags != ("--no-compile",))
    assert json.loads(run.out)["models"]


def test_lr_images_beside_hr_are_used_or_asked_about(dfsq: Callable) -> None:
    """What is supplied changes the score, or the run stops with the command to type."""
    made = dfsq("eval", "model.pth", *BENCHMARK, "--csv")
    assert {row["lr"] for row in csv.DictReader(io.StringIO(made.out))} == {"bicubic"}
    for path in Path("benchmark/Set5/HR").iterdir():
        write_png_like(path, Path("benchmark/Set5/LRother") / f"{path.stem}_bicLRx2.png")
    supplied = dfsq("eval", "model.pth", *BENCHMARK, "--csv")
    rows = [list(csv.DictReader(io.StringIO(each.out))) for each in (made, supplied)]
    assert {row["lr"] for row in rows[1]} == {"supplied"}
    assert all(a["psnr_y"] != b["psnr_y"] for a, b in zip(*rows, strict=True))

    run = dfsq("eval", "model.pth", "--hr", "benchmark/Set5/HR")
    folder = f"{Path('benchmark/Set5').absolute()}"
    assert run.code == 2
    assert run.err == (
        f"dfsq: {folder}/LRother belongs to benchmark/Set5/HR and would not be used; name both, dfsq eval "
        f"--hr benchmark/Set5/HR --lr {folder}/LRother, or move {folder}/LRother away\n"
    )
    Path("benchmark/Set5/LRmore").mkdir()
    assert dfsq("eval", "model.pth", *BENCHMARK).code == 0  # nothing in it that could be meant
    write_png_like(Path("benchmark/Set5/HR/img0.png"), Path("benchmark/Set5/LRmore/img0.png"))
    for command in ("eval", "compare"):
        run = dfsq(command, "model.pth", *BENCHMARK)
        assert (run.code, "lie in" in run.err, " --lr " in run.err) == (2, True, True)


def write_png_like(hr: Path, path: Path) -> None:
    """A grey LR image for an HR image."""
    height, width = read_image(hr).shape[:2]
    path.parent.mkdir(exist_ok=True)
    write_png(path, np.full((height // 2, width // 2, 3), 90, np.uint8))


def test_what_is_passed_over_is_said(dfsq: Callable) -> None:
    for name in ("notes.txt", "._img0.png", "Thumbs.db"):
        Path("benchmark/Set5/HR", name).touch()
    run = dfsq("eval", "model.pth", *BENCHMARK)
    assert run.code == 0
    assert "Set5/HR: passed over 1 that are no images: notes.txt" in run.err
    assert dfsq("eval", "model.pth", *BENCHMARK, "--quiet").err == ""


def test_one_set_named_twice_is_one(dfsq: Callable) -> None:
    document = json.loads(dfsq("eval", "model.pth", "--data", "benchmark", "--set", "Set5,SET5", "--json").out)
    assert [each["name"] for each in document["models"][0]["sets"]] == ["Set5"]


@pytest.mark.parametrize("content", [b"", b"text"])
def test_an_unreadable_image_stops_the_gate(dfsq: Callable, content: bytes) -> None:
    Path("benchmark/Set5/HR/img0.png").write_bytes(content)
    run = dfsq("eval", "model.pth", *BENCHMARK, "--min-psnr", "Set5=1")
    assert (run.code, run.out) == (1, "")
    assert "Set5/HR/img0.png is no readable image" in run.err
