"""The commands of docs/terminal.md do what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from glob import glob
from pathlib import Path

import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "terminal.md").read_text()


@pytest.mark.usefixtures("pyiqa")
def test_commands(dfsq: Callable) -> None:
    av = pytest.importorskip("av")
    made = ("quantize", "model.pth", "-o", "model-w4a4.safetensors", "--patches", "1", "--recipe", "fast", "--no-eval")
    assert dfsq(*made).code == 0
    with av.open("clip.mp4", "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    commands = [line.partition("#")[0] for line in lines if line.startswith("dfsq")]
    assert len(commands) == 7
    for command in commands:
        words = [each for word in shlex.split(command)[1:] for each in (glob(word) if "*" in word else [word])]
        run = dfsq(*words)
        assert run.code == 0, (command, run.err)
    assert Path("large.mp4").is_file() and Path("large/clip.mp4").is_file()


def test_every_shell_has_a_line() -> None:
    assert set(re.findall(r"_DFSQ_COMPLETE=(\w+)_source", PAGE)) == {"bash", "zsh", "fish"}


def test_options_exist(dfsq: Callable) -> None:
    helps = "".join(dfsq(command, "--help").out for command in ("inspect", "data", "eval", "upscale"))
    assert all(option in helps for option in re.findall(r"(?<![-|])--[a-z-]+", PAGE))
