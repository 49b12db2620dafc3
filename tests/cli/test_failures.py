"""Every failure is one line that says what to do, and the exit code of its kind."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import torch

from cli.main import group
from dfsq.errors import DfsqError, UsageError

MEMORY = "dfsq: out of memory; use fewer or smaller images, or upscale with --tile\n"


def too_much_of_torch() -> None:
    torch.empty(10**15)


def too_much_of_numpy() -> None:
    np.empty(10**15)


def told_as_something_else() -> None:
    try:
        torch.empty(10**15)
    except RuntimeError as error:
        raise DfsqError("the file is damaged") from error


def endless() -> None:
    endless()


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def stopped(number: signal.Signals) -> Callable[[], None]:
    def stop() -> None:
        try:
            signal.raise_signal(number)
        except Exception:
            pytest.fail("caught like an error")

    return stop


@pytest.mark.parametrize(
    ("work", "code", "err"),
    [
        (too_much_of_torch, 1, MEMORY),
        (too_much_of_numpy, 1, MEMORY),
        (told_as_something_else, 1, MEMORY),
        (raising(MemoryError()), 1, MEMORY),
        (raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")), 1, MEMORY),
        (raising(OSError(12, "Cannot allocate memory")), 1, MEMORY),
        (raising(RuntimeError("std::bad_alloc")), 1, MEMORY),
        (endless, 1, "dfsq: an input is nested too deeply to be read; look into it\n"),
        (
            raising(PermissionError(13, "Permission denied", "photos")),
            1,
            "dfsq: cannot use photos: Permission denied\n",
        ),
        (raising(ImportError("No module named 'x'")), 1, "(No module named 'x'); install dfsq again\n"),
        (raising(DfsqError("a\nb")), 1, "dfsq: a b\n"),
        (raising(UsageError("a")), 2, "dfsq: a\n"),
        (raising(KeyboardInterrupt()), 130, "dfsq: interrupted; no file was left unfinished\n"),
        (stopped(signal.SIGINT), 130, "dfsq: interrupted; no file was left unfinished\n"),
        (stopped(signal.SIGTERM), 143, "dfsq: terminated; no file was left unfinished\n"),
        (raising(ValueError("a\nb")), 1, "dfsq: unexpected ValueError: a b; run again with --debug to see where\n"),
    ],
)
def test_failures(dfsq: Callable, monkeypatch: pytest.MonkeyPatch, work: Callable, code: int, err: str) -> None:
    monkeypatch.setitem(group.commands, "work", click.Command("work", callback=work))
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    run = dfsq("work")
    assert run.code == code
    assert run.err.strip().endswith(err.strip())
    assert len(run.err.strip().splitlines()) == 1
    assert run.out == ""
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("option", ["--baseline", "--recipe", "--calib"])
def test_pipes_and_devices_are_refused_at_once(dfsq: Callable, option: str) -> None:
    os.mkfifo("pipe.yaml")
    Path("device.yaml").symlink_to("/dev/zero")
    command = "eval" if option == "--baseline" else "quantize"
    for name in ("pipe.yaml", "device.yaml"):
        run = dfsq(command, "model.pth", option, name)
        assert run.code == 2
        assert "pipe" in run.err or "device" in run.err
        assert run.err.count("\n") == 1


def test_a_gate_that_cannot_be_judged_stops_the_run_before_the_work(dfsq: Callable) -> None:
    assert dfsq("eval", "model.pth", "--data", "benchmark", "--set", "Set5", "--report", "b.json").code == 0
    Path("benchmark/Set5/HR/img1.png").unlink()
    baseline = ("--baseline", "b.json", "--report", "r.json")
    run = dfsq("eval", "model.pth", "--data", "benchmark", "--set", "Set5", *baseline)
    assert (run.code, run.out) == (2, "")
    assert "other images on 'Set5' for model.pth: it lacks no others, and has img1" in run.err
    assert not Path("r.json").exists()
