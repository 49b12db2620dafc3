"""Whatever becomes of the output, the work is kept and the exit code says how it went."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main

SCRIPT = """
import sys
import click
from cli.main import group, main
from cli.console import note, print_table, print_text, tell

@group.command()
@click.argument("code", type=int)
def work(code):
    for number in range(100):
        print_table("Scores of \\u00d7 \\udcff", ("model", "\\u00e9"), [("a[v2].pth", str(number))])
        note("a note \\u00d7")
    print_text("the end \\u65e5\\n")
    open("done", "w").close()
    if code == 3:
        tell("gate failed")
    return code

main(["work", sys.argv[1]])
"""


def work(tmp_path: Path, redirection: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command that prints much, as the shell runs it; the exit code is its own, not that of what reads it."""
    (tmp_path / "work.py").write_text(SCRIPT)
    command = f"set -o pipefail; '{sys.executable}' work.py {code} {redirection}"
    return subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, timeout=60
    )


NO_SPACE = b"dfsq: cannot print the result: No space left on device; print it elsewhere\n"


@pytest.mark.parametrize(
    ("redirection", "code", "expected"),
    [
        ("2>/dev/null | head -1", 0, 0),
        ("2>/dev/null | head -1", 3, 3),
        ("2>/dev/null | true", 3, 3),
        ("2>&1 | true", 0, 0),
        ("2>&1 >/dev/null | head -1", 3, 3),
        (">&- 2>/dev/null", 3, 3),
        ("2>&- >/dev/null", 3, 3),
        ("<&- >&- 2>&-", 0, 0),
        ("2>/dev/full >/dev/null", 3, 3),
        (">/dev/full 2>/dev/null", 3, 3),
        (">/dev/full 2>/dev/null", 0, 1),
    ],
)
def test_exit_codes(tmp_path: Path, redirection: str, code: int, expected: int) -> None:
    run = work(tmp_path, redirection, code)
    assert run.returncode == expected
    assert (tmp_path / "done").exists()
    assert b"Traceback" not in run.stderr
    assert b"Exception ignored" not in run.stderr


def test_a_result_that_could_not_be_printed_is_told(tmp_path: Path) -> None:
    run = work(tmp_path, ">/dev/full")
    assert run.stderr.splitlines(keepends=True)[-1] == NO_SPACE


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"PYTHONIOENCODING": "utf-16"},
    ],
)
def test_any_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    run = work(tmp_path, "2>/dev/null", **environment)
    assert run.returncode == 0
    encoding = environment.get("PYTHONIOENCODING", "ascii").split(":")[0]
    text = run.stdout.decode(encoding)
    assert "a[v2].pth" in text
    assert text.splitlines()[-1] == ("the end 日" if encoding.startswith("utf") else "the end \\u65e5")


def test_reports_are_written_though_nobody_reads(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    reports = [f"r{suffix}" for suffix in (".json", ".csv", ".md", ".html")]
    options = [option for report in reports for option in ("--report", report)]
    with pytest.raises(SystemExit) as exit_:
        main(["eval", "model.pth", "--data", "benchmark", "--set", "Set5", "--min-psnr", "Set5=99", *options])
    assert exit_.value.code == 3
    assert all(Path(report).stat().st_size for report in reports)


def test_json_is_json_in_any_encoding(dfsq: Callable) -> None:
    Path("modèle ×.pth").write_bytes(Path("model.pth").read_bytes())
    out = dfsq("eval", "modèle ×.pth", "--data", "benchmark", "--set", "Set5", "--json").out
    assert out.isascii()
    assert json.loads(out)["models"][0]["name"] == "modèle ×.pth"
