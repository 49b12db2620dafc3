"""The commands and the Python of the manual do what it says."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cli.main import group
from dfsq.images.files import read_image, write_png

ROOT = Path(__file__).parents[2]
MANUAL = {each.name: each.read_text(encoding="utf-8") for each in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
COMMANDS = ("README.md", "commands.md", "ci.md")
"""Pages whose shell commands are run, in order."""
FOREIGN = {"--index-url", "--nproc-per-node", "--update", "--paper-bits", "--only"}
"""Options of pip, torchrun and the benchmarks."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", MANUAL[page], re.DOTALL | re.MULTILINE)


def run_all(dfsq: Callable, lines: list[str]) -> None:
    for line in lines:
        command, _, target = line.partition(" > ")
        run = dfsq(*shlex.split(command)[1:])
        assert run.code == 0, (line, run.err)
        if target:
            Path(target).write_text(run.out)


@pytest.mark.parametrize("page", COMMANDS)
def test_commands(dfsq: Callable, page: str) -> None:
    for photo in sorted(Path("photos").iterdir()):  # some more, of which some can be set aside
        write_png(photo.with_stem(f"{photo.stem}-mirrored"), np.ascontiguousarray(read_image(photo)[:, ::-1]))
    if page == "ci.md":  # which begins where there is one
        assert dfsq("quantize", "model.pth", "-o", "model-w4a4.safetensors", "--recipe", "fast", "--no-eval").code == 0
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    assert len(lines) >= 4
    run_all(dfsq, lines)


@pytest.mark.parametrize("page", ["README.md", "api.md"])
def test_python(dfsq: Callable, page: str) -> None:
    (block,) = blocks(page, "python")
    exec(block, {})
    assert Path("model-w4a4.safetensors").exists()


def strings(document: Any) -> Iterator[str]:
    values = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    for each in values:
        yield from strings(each)
    if isinstance(document, str):
        yield document


def test_recipes_for_ci(dfsq: Callable) -> None:
    """They are YAML, and what they run of dfsq holds."""
    documents = [yaml.safe_load(block) for block in blocks("ci.md", "yaml")]
    lines = [each for document in documents for each in strings(document) if each.startswith("dfsq ")]
    assert len(lines) == 5
    assert dfsq(*shlex.split(lines[0])[1:]).code == 0
    report = dfsq("eval", "model-w4a4.safetensors", "--data", "benchmark", "--set", "Set5", "--json").out
    Path("report.json").write_text(report)
    run_all(dfsq, lines[1:])


def test_paths_of_the_json(dfsq: Callable) -> None:
    sets = ("--data", "benchmark", "--set", "Set5", "--patches", "2")
    assert dfsq("quantize", "model.pth", *sets, "--report", "q.json").code == 0
    run = dfsq("eval", "model.pth", "model-w4a4.safetensors", "--hr", "photos", "--json", "--min-psnr", "photos=1")
    compared = dfsq("compare", "model.pth", *sets, "--recipes", "fast", "--json")
    documents = [json.loads(each) for each in (run.out, Path("q.json").read_text(), compared.out)]
    table = MANUAL["ci.md"].partition("| path | what |")[2].partition("\n\n")[0]
    rows = [
        row for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) if row != "`models[].seconds_per_megapixel`"
    ]
    assert len(rows) == 17
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        parent = first.rpartition(".")[0]
        for path in (first, *(parent + each for each in others)):
            assert any(is_in(document, path.split(".")) for document in documents), path


def is_in(value: Any, path: list[str]) -> bool:
    """Whether there is something at ``path``; of lists the last item counts, which is what was quantized."""
    for key in path:
        if not isinstance(value, dict) or key.removesuffix("[]") not in value:
            return False
        value = value[key.removesuffix("[]")]
        value = value[-1] if key.endswith("[]") else value
    return True


@pytest.mark.parametrize("page", MANUAL)
def test_options_exist(page: str) -> None:
    known = {
        option
        for command in commands(group)
        for each in command.params
        for option in (*each.opts, *each.secondary_opts)
    }
    found = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", MANUAL[page]))
    assert found - FOREIGN <= known | {"--help"}


def commands(command: Any) -> Iterator[Any]:
    yield command
    for name in getattr(command, "list_commands", lambda _: ())(None):
        yield from commands(command.get_command(None, name))


def test_commands_have_a_place_in_the_manual() -> None:
    headings = re.findall(r"^## (.*)$", MANUAL["commands.md"], re.MULTILINE)
    for name in group.list_commands(None):
        assert any(name in heading for heading in headings) or f"`dfsq {name}" in "".join(MANUAL.values()), name


@pytest.mark.parametrize("target", ["demo", "install", "test", "check", "bench", "docs", "package"])
def test_make_targets_are_there(target: str) -> None:
    if not (ROOT / "Makefile").exists():
        pytest.skip("no Makefile beside the tests")
    dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr
