"""The commands of the README do what it says."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_commands(dfsq: Callable) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 5
    for line in lines:
        command, _, target = line.partition(" > ")
        run = dfsq(*shlex.split(command)[1:])
        assert run.code == 0, (line, run.err)
        if target:
            Path(target).write_text(run.out)


def test_python(dfsq: Callable) -> None:
    (block,) = blocks("python")
    exec(block, {})
    assert Path("model-w4a4.safetensors").exists()


def test_options_of_the_table_exist(dfsq: Callable) -> None:
    options = "".join(dfsq(command, "--help").out for command in ("quantize", "eval", "upscale", "export"))
    for option in set(re.findall(r"`[^`\n]*?(--[a-z-]+)", README)) - {"--constraint"}:
        assert option in options, option


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench"])
def test_make_targets_are_there(target: str) -> None:
    if not (ROOT / "Makefile").exists():
        pytest.skip("no Makefile beside the tests")
    dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
