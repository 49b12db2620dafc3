"""Killed at any point: a file is absent, old or whole, and the next run removes what was left."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dfsq.files import write_atomically
from dfsq.model import SRModel

SIZE = 4_000_000

WRITING = f"""
import itertools, sys
from pathlib import Path
from cli.main import group, main
from dfsq.files import write_atomically

@group.command()
def write():
    for letter in itertools.cycle((b"a", b"b")):
        write_atomically(Path(sys.argv[1]), letter * {SIZE})

main(["write"])
"""

QUANTIZING = """
import json, os, random, signal, sys, time
import calibration, dfsq, torch
import calibration.pipeline, dfsq.evaluation.samples, dfsq.loading
from cli.main import main

def start():
    child = os.fork()
    if child == 0:
        sys.stderr = open("errors", "a")
        try:
            main("quantize model.pth -o a.safetensors --patches 4 --patch-size 64 --no-eval -q".split())
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(end.code)  # Python takes its time to end after torch
    return child

began = time.monotonic()
assert os.waitpid(start(), 0)[1] == 0
duration = time.monotonic() - began
whole = open("a.safetensors", "rb").read()
generator = random.Random(0)
for kill in (signal.SIGTERM, signal.SIGKILL) * 4:
    open("a.safetensors", "wb").write(b"old")
    child = start()
    time.sleep(generator.random() * duration)
    os.kill(child, kill)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = open("a.safetensors", "rb").read()
    print(json.dumps([kill, code, "old" if found == b"old" else "whole" if found == whole else "damaged"]))
assert os.waitpid(start(), 0)[1] == 0
"""

TAKEN_FOR_ANOTHER = """
import os, signal
from cli.main import group, main

@group.command()
def work():
    try:
        os.kill(os.getpid(), signal.SIGNAL)
    except BaseException:
        raise ValueError("no valid format string") from None

main(["work"])
"""

WORKER = """
import os, time
from dfsq import distributed
distributed.end_with_launcher()
os.write(1, b"started\\n")  # in one piece, which print does not promise
time.sleep(100)
"""

LAUNCHER = """
import subprocess, sys, time
workers = [subprocess.Popen([sys.executable, "-c", sys.argv[1]]) for _ in range(2)]
print(*(worker.pid for worker in workers), flush=True)
time.sleep(100)
"""


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(condition: Callable[[], object]) -> None:
    """A hang limit: what is waited for takes a second or two."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("nothing happened for 30 seconds")


def unfinished(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_while_a_file_is_written(tmp_path: Path, kill: signal.Signals, seed: int) -> None:
    path = tmp_path / "a"
    with running(WRITING, str(path)) as process:
        until(path.exists)
        time.sleep(random.Random(seed).random() / 10)
        until(lambda: unfinished(tmp_path))
        process.send_signal(kill)
        _, err = process.communicate(timeout=30)
    if kill == signal.SIGTERM:
        assert (process.returncode, err) == (143, "dfsq: terminated; no file was left unfinished\n")
        assert not unfinished(tmp_path)
    assert path.read_bytes() in (b"a" * SIZE, b"b" * SIZE)
    write_atomically(tmp_path / "b", b"")
    assert not unfinished(tmp_path)


def test_while_a_network_is_quantized(
    plausible_model: SRModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(plausible_model.net.state_dict(), "model.pth")
    with running(QUANTIZING) as process:
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    kills = [json.loads(line) for line in out.splitlines() if line.startswith("[")]
    assert len(kills) == 8
    for kill, code, found in kills:
        assert code in (0, -kill, 143)  # -SIGTERM: before the command line has begun
        assert found in ("old", "whole")
        assert code != 0 or found == "whole"
    terminated = [code for _, code, _ in kills].count(143)
    assert terminated
    assert Path("errors").read_text() == "dfsq: terminated; no file was left unfinished\n" * terminated
    assert not unfinished(tmp_path)


def test_workers_end_when_their_launcher_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with running(LAUNCHER, WORKER) as launcher:
        assert launcher.stdout is not None
        workers = [int(each) for each in launcher.stdout.readline().split()]
        assert [launcher.stdout.readline() for _ in workers] == ["started\n"] * 2
        launcher.kill()
        until(lambda: not any(map(lives, workers)))


def lives(process: int) -> bool:
    """Whether a process is there, and not only its exit code that nobody has fetched."""
    try:
        os.kill(process, 0)
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    "name, code, told", [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_that_a_library_takes_for_an_error_of_its_own(name: str, code: int, told: str) -> None:
    with running(TAKEN_FOR_ANOTHER.replace("SIGNAL", name)) as process:
        _, err = process.communicate(timeout=100)
    assert process.returncode == code
    assert err.strip() == f"dfsq: {told}; no file was left unfinished"
