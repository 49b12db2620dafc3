"""``--recipe trained`` on the command line: figures, interruptions, and what goes with what."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.training import forget, state_of
from dfsq import distributed

SHORT = (
    "quantize", "model.pth", "--recipe", "short.yaml", "--calib", "photos", "--patches", "2", "--patch-size", "48",
)  # fmt: skip
RECIPE = "method: trained\nsteps: 20\nbatch: 2\ncrop_size: 16\nw_bits: 2\na_bits: 2\n"
DDTB = (
    "method: ddtb\nsteps: 20\nbatch: 2\ncrop_size: 16\nw_bits: 2\na_bits: 2\nwarm_up: 5\nhalve_every: 10\nratio: 0.5\n"
)


@pytest.fixture(autouse=True)
def _recipe(dfsq: Callable) -> None:
    Path("short.yaml").write_text(RECIPE)


def test_a_run_tells_what_training_brought(dfsq: Callable) -> None:
    run = dfsq(*SHORT, "-o", "a.safetensors", "--set", "Set5", "--data", "benchmark")
    assert run.code == 0, run.err
    assert "points and weights trained for 20 steps" in run.out
    assert "images set aside" in run.out and "dB lost at the start" in run.out
    assert not Path("a.safetensors.training").exists()
    assert dfsq("inspect", "a.safetensors").code == 0


@pytest.mark.parametrize(
    "method, home, trained",
    [
        ("trained", "calibration.methods.trained_network", "TrainedNetwork"),
        ("ddtb", "calibration.ddtb.run", "TrainedBounds"),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_bytes(dfsq: Callable, method: str, home: str, trained: str) -> None:
    Path("short.yaml").write_text(DDTB if method == "ddtb" else RECIPE)
    assert dfsq(*SHORT, "-o", "whole.safetensors", "--no-eval").code == 0
    interrupted = f"""
import os, signal, sys
from {home} import {trained}
from cli.main import main
loss, number = {trained}.loss, int(sys.argv[1])
def stopped(self, step, lr, hr):
    if step == 7:
        os.kill(os.getpid(), number)
    return loss(self, step, lr, hr)
{trained}.loss = stopped
main(sys.argv[2:])
"""
    command = [*SHORT, "-o", "broken.safetensors", "--no-eval"]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        run = subprocess.run(
            [sys.executable, "-c", interrupted, str(int(number)), *command],
            capture_output=True, text=True, check=False, env=os.environ, timeout=300,
        )  # fmt: skip
        assert run.returncode == code, run.stderr
        assert "Traceback" not in run.stderr
        told = "the training so far is in broken.safetensors.training, and the same command goes on from it"
        assert run.stderr.endswith(f"; no file was left unfinished; {told}\n")
        assert Path("broken.safetensors.training").is_file() and not Path("broken.safetensors").exists()
        again = dfsq(*command)
        assert again.code == 0, again.err
        assert Path("broken.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
        assert not Path("broken.safetensors.training").exists()
        Path("broken.safetensors").unlink()


def test_the_state_of_another_run_is_a_usage_error(dfsq: Callable) -> None:
    Path("a.safetensors.training").write_bytes(b"something else")
    run = dfsq(*SHORT, "-o", "a.safetensors", "--no-eval")
    assert run.code == 2
    assert "is no state of a training run; start anew (--no-resume)" in run.err
    assert len(run.err.strip().splitlines()) == 1
    assert dfsq(*SHORT, "-o", "a.safetensors", "--no-eval", "--no-resume").code == 0


def test_hr_images_as_the_objective_must_be_there(dfsq: Callable) -> None:
    Path("short.yaml").write_text(f"{RECIPE}objective: target\n")
    run = dfsq(*SHORT, "-o", "a.safetensors", "--no-eval", "--calib-is-lr", "--quiet")
    assert (run.code, run.err.count("\n")) == (2, 1)
    assert "needs HR images, and these are LR (--calib-is-lr)" in run.err
    assert not Path("a.safetensors").exists() and not Path("a.safetensors.training").exists()


def test_the_process_that_writes_files_alone_removes_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "a.safetensors"
    state_of(output).write_bytes(b"")
    for writes in (False, True):
        monkeypatch.setattr(distributed, "writes_files", lambda writes=writes: writes)
        forget(output)
        assert state_of(output).exists() != writes


def test_minutes_say_how_many_steps_they_are(dfsq: Callable) -> None:
    Path("short.yaml").write_text(RECIPE.replace("steps: 20\n", ""))
    run = dfsq(*SHORT, "-o", "a.safetensors", "--no-eval", "--minutes", "0.02")
    assert run.code == 0, run.err
    (steps,) = re.findall(r"0.02 minutes are about (\d+) steps here", run.err)
    assert f"trained for {steps} steps" in run.out  # not as many as the recipe says


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--recipe", "fast", "--steps", "5"), "--steps"),
        (("--recipe", "accurate", "--minutes", "5"), "--minutes"),
        (("--recipe", "fast", "--no-resume"), "does not train"),
        (("--recipe", "trained", "--max-drop", "1"), "--max-drop"),
        (("--max-drop", "1", "--minutes", "5"), "--max-drop trains nothing; leave out --minutes"),
        (("--max-drop", "1", "--resume"), "--max-drop trains nothing"),
        (("--max-drop", "1", "--no-resume"), "--max-drop trains nothing"),
        (("--recipe", "trained", "--selector", "exact"), "--selector"),
        (("--recipe", "trained", "--steps", "0"), "--steps"),
        (("--recipe", "trained", "--steps", "2000", "--minutes", "5"), "--steps and --minutes both"),
        (("--recipe", "short.yaml", "--minutes", "5"), "--steps of the recipe are 20, and --minutes 5"),
        (("--recipe", "trained", "--minutes", "nan"), "--minutes"),
    ],
)
def test_flags_that_mean_nothing_together(dfsq: Callable, flags: tuple[str, ...], message: str) -> None:
    run = dfsq("quantize", "model.pth", "--calib", "photos", "--no-eval", "-o", "a.safetensors", *flags)
    assert run.code == 2
    assert message in run.err
    assert len(run.err.strip().splitlines()) == 1
    assert not Path("a.safetensors").exists()
