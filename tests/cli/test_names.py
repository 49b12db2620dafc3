"""Names as people have them: printed as they are, obeyed by nothing, and never two for one file."""

import io
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cli.naming import distinct, stems
from cli.outputs import check_inputs_survive
from dfsq.errors import UsageError
from dfsq.images.files import read_image, write_png
from dfsq.printable import printable

PLAIN = ("a[v2].pth", "[bold]x.pth", ":smile:.pth", "modèle 日本 👨‍👩‍👧.pth", "50%{name}$HOME`x`.pth")
OBEYED = {
    "\x1b[31mred.pth": "\\x1b[31mred.pth",
    "bell\x07.pth": "bell\\x07.pth",
    "two\nlines.pth": "two\\nlines.pth",
    "c1\x9b31m.pth": "c1\\x9b31m.pth",
    "\u202ehtp.pth": "\\u202ehtp.pth",
    os.fsdecode(b"latin\xe9.pth"): "latin\\udce9.pth",
}
SET5 = ("--data", "benchmark", "--set", "Set5")


@pytest.mark.parametrize("name", PLAIN)
def test_plain_names_are_printed_as_they_are(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize("name", OBEYED)
def test_what_a_terminal_would_obey_is_escaped(name: str) -> None:
    assert printable(name) == OBEYED[name]


def test_names_in_everything_that_is_printed(dfsq: Callable) -> None:
    names = {**dict.fromkeys(PLAIN, ""), **OBEYED}
    for name in names:
        Path(name).write_bytes(Path("model.pth").read_bytes())
    reports = [option for each in ("r.json", "r.csv", "r.md", "r.html") for option in ("--report", each)]
    gates = ("--max-drop", "1", "--min-psnr", "Set5=99", "--per-image")
    run = dfsq("eval", *names, *SET5, *gates, *reports)
    assert run.code == 3
    rows = {line.split("│")[1].strip() for line in run.out.splitlines() if line.startswith("│")}
    assert rows == {escaped or name for name, escaped in names.items()}
    page, text = Path("r.html").read_text("utf-8"), Path("r.md").read_text("utf-8")
    for shown in (run.out, run.err, text, page):
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    assert "\\[bold\\]x.pth" in text


@pytest.mark.parametrize("name", [*PLAIN, *OBEYED])
def test_names_in_errors(dfsq: Callable, name: str) -> None:
    run = dfsq("inspect", name)
    assert run.err == f"dfsq: {printable(' '.join(name.split()))} does not exist\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "A", "a"], ["a", "A-2", "a-3"]),
        (["a:b", "a?b", "a_b"], ["a_b", "a_b-2", "a_b-3"]),
        (["a", "a-2", "a"], ["a", "a-2", "a-3"]),
        (["a/b", "..", ".", "", "x.", "x "], ["a_b", "_", "_-2", "_-3", "x", "x-2"]),
        (["é", unicodedata.normalize("NFD", "é")], ["é", unicodedata.normalize("NFD", "é") + "-2"]),
        (["é" * 150, "é" * 151], ["é" * 100, "é" * 100 + "-2"]),
    ],
)
def test_distinct_names(names: list[str], expected: list[str]) -> None:
    assert distinct(names) == expected


def test_models_of_one_stem_keep_their_suffixes() -> None:
    assert stems(["a.pth", "b.pth"]) == ["a", "b"]
    assert stems(["a.pth", "A.safetensors"]) == ["a.pth", "A.safetensors"]


def test_saved_images_never_share_a_path(dfsq: Callable) -> None:
    for path in ("x/m.pth", "y/m.pth", "M.pth", "m.pt"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(Path("model.pth").read_bytes())
    Path("hr").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    for name, picture in zip(("a.png", "A.png", "a:.png"), pixels, strict=True):
        write_png(Path("hr") / name, picture)
    assert dfsq("eval", "x/m.pth", "y/m.pth", "M.pth", "m.pt", "--hr", "hr", "--save-images", "out").code == 0
    found = [str(path.relative_to("out")) for path in Path("out").rglob("*.png")]
    assert len({path.lower() for path in found}) == 4 * 3
    assert {path.split("/")[0] for path in found} == {"x_m.pth", "y_m.pth", "M.pth", "m.pt"}
    images = {read_image(path).tobytes() for path in Path("out/m.pt/hr").iterdir()}
    assert len(images) == 3


def test_saved_images_replace_no_image_of_the_set(dfsq: Callable) -> None:
    Path("benchmark.pth").write_bytes(Path("model.pth").read_bytes())
    before = {path: path.read_bytes() for path in Path("benchmark").rglob("*.png")}
    run = dfsq("eval", "benchmark.pth", "--data", "benchmark", "--set", "Set14", "--save-images", ".")
    assert (run.code, run.err) == (2, "dfsq: benchmark/Set14/img0.png is an input; choose another output\n")
    assert {path: path.read_bytes() for path in Path("benchmark").rglob("*.png")} == before


@pytest.mark.parametrize(
    "arguments",
    [
        "quantize model.pth --recipe r.json.yaml --report link.json",
        "quantize model.pth --calib photos --report photos.md",
        "quantize model.pth --calib photos/img0.png --report photos.md",
        "quantize model.pth -o model.safetensors",
        "eval model.pth --data benchmark --baseline b.json --report ./photos/../b.json",
        "eval model.pth --hr photos --report photos.md",
        "eval model.pth --data benchmark --set Set14 --report set.html",
        "compare model.pth --recipes r.json.yaml --report link.json",
    ],
)
def test_outputs_replace_no_input(dfsq: Callable, arguments: str) -> None:
    Path("r.json.yaml").write_text("patches: 1\n")
    Path("link.json").symlink_to("r.json.yaml")
    Path("photos.md").symlink_to("photos/img0.png")
    Path("set.html").symlink_to("benchmark/Set14/img1.png")
    Path("model.safetensors").symlink_to("model.pth")
    assert dfsq("eval", "model.pth", "--data", "benchmark", "--report", "b.json").code == 0
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    run = dfsq(*arguments.split(), "-q")
    assert run.code == 2
    assert "is an input; choose another output" in run.err
    assert run.err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_report_beside_the_images_can_be_written_again(dfsq: Callable) -> None:
    for _ in range(2):
        assert dfsq("eval", "model.pth", "--hr", "photos", "--report", "photos/r.json", "-q").code == 0


def test_a_name_of_other_case_is_the_same_file_where_the_system_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "A")
    with pytest.raises(UsageError, match="is an input"):
        check_inputs_survive([tmp_path / "a"], [tmp_path / "A"])


def test_a_narrow_terminal_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.console import print_table

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    print_table("Scores", ("model", "drop"), [("a[v2]" * 20 + ".pth", "+0.137")], (1,))
    rows = [line.split("│")[1].strip() for line in terminal.getvalue().splitlines() if line.startswith("│")]
    assert "".join(rows) == "a[v2]" * 20 + ".pth"
    assert "+0.137" in terminal.getvalue()
    assert max(map(len, terminal.getvalue().splitlines())) <= 80  # as wide as a dumb terminal
