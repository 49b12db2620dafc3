"""Several processes under ``torchrun`` do what one does, or end together with one line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dfsq import load

pytestmark = pytest.mark.slow

SCRIPT = """
import os, signal, sys
import calibration
from calibration.methods.by_channel import ByChannel
from cli.main import group, main
"""

EACH = """
import json
*first, last = json.loads(sys.argv[1])
for arguments in first:
    group.main(arguments, standalone_mode=False)
main(last)
"""

KILLED = """
select = ByChannel.input_quantizer
def lose(*arguments):
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return select(*arguments)
ByChannel.input_quantizer = lose
main(sys.argv[1:])
"""

GROUPED = """
import torch
from torch import nn
from torch.nn import functional as F

class Grouped(nn.Module):
    scale = 2

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 40, 3, padding=1)
        self.middle = nn.Conv2d(40, 40, 3, padding=1, groups=4)
        self.last = nn.Conv2d(40, 12, 3, padding=1)

    def forward(self, x):
        detail = F.pixel_shuffle(self.last(F.relu(self.middle(self.first(x)))), 2)
        return 0.01 * detail + F.interpolate(x, scale_factor=2)

if __name__ == "__main__":
    torch.manual_seed(0)
    torch.save(Grouped().state_dict(), "grouped.pth")
"""

SMALL = ("--calib", "photos", "--patch-size", "64", "--no-eval")
WITHIN = ("--bits", "2", "--words", "2", "--scope", "all", "--outside-bits", "2", "--max-drop", "3.5")


def torchrun(processes: int, *command: str) -> subprocess.CompletedProcess[str]:
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1")
    return subprocess.run(
        [*launcher, "--nproc-per-node", str(processes), *command],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def lines(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in run.stderr.splitlines() if line.startswith("dfsq: ")]


def everything(folder: str) -> dict[str, object]:
    """Content of all files below ``folder``, without how long anything took."""
    found: dict[str, object] = {}
    for path in Path(folder).rglob("*"):
        if path.name == "compare.json":
            found[path.name] = json.loads(path.read_text()) | {"seconds": None}
        elif path.suffix == ".html":  # what was typed differs
            found[path.name] = re.sub(rb"<td>command</td><td>[^<]*</td>", b"", path.read_bytes())
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def commands(out: str) -> list[tuple[str, ...]]:
    scored = ("--data", "benchmark", "--set", "Set5,Set14")
    pictured = ("--report", f"{out}/eval.json", "--report", f"{out}/eval.html", "--save-images", f"{out}/pictures")
    analysed = ("--calib", "photos", "--report", f"{out}/layers.json", "--report", f"{out}/layers.html")
    runs = ("--calib", "photos", "--patches", "2", "--recipes", "minmax,fast", "--bits", "4,2")
    return [
        ("quantize", "model.pth", "-o", f"{out}/fast.safetensors", *SMALL, "--patches", "5", "--recipe", "fast"),
        ("quantize", "model.pth", "-o", f"{out}/paper.safetensors", *SMALL, "--patches", "4", "--recipe", "paper"),
        ("quantize", "model.pth", "-o", f"{out}/mse.safetensors", *SMALL, "--patches", "2", "--recipe", "mse"),
        ("quantize", "model.pth", "-o", f"{out}/best.safetensors", *SMALL, "--patches", "6"),
        ("quantize", "grouped.pth", "--arch", "grouped.py:Grouped", "-o", f"{out}/grouped.safetensors", *SMALL),
        ("quantize", "model.pth", "-o", f"{out}/within.safetensors", *SMALL, "--patches", "8", *WITHIN),
        ("eval", "model.pth", f"{out}/fast.safetensors", *scored, "--bicubic", *pictured),
        ("analyze", f"{out}/fast.safetensors", *analysed),
        ("compare", "model.pth", *scored, *runs, "--report", f"{out}/compare.json"),
        ("upscale", f"{out}/fast.safetensors", "benchmark/Set14", "-o", f"{out}/upscaled"),
    ]


@pytest.mark.parametrize("processes", [2, 3])  # three are more than the images of a set, and than some have patches
def test_files_are_those_of_one_process(dfsq: Callable, processes: int) -> None:
    for folder in ("one", "many"):
        Path(folder).mkdir()
    Path("photos/broken.png").write_bytes(b"no image")
    Path("grouped.py").write_text(GROUPED)
    subprocess.run([sys.executable, "grouped.py"], check=True)
    for arguments in commands("one"):
        assert dfsq(*arguments).code == 0
    Path("each.py").write_text(SCRIPT + EACH)
    run = torchrun(processes, "each.py", json.dumps(commands("many")))
    assert run.returncode == 0, run.stderr
    one, many = everything("one"), everything("many")
    assert len(one) == 6 + 2 + 2 * 4 + 2 + 1 + 2
    assert one.keys() == many.keys()
    assert [name for name in one if one[name] != many[name]] == []
    # Every calibration tells, so does the analysis, and of the four compared those that the first process does.
    assert run.stderr.count("skipped: photos/broken.png") == 6 + 1 + 2


@pytest.mark.parametrize("recipe", ["accurate", "fast"])
def test_a_killed_worker_ends_the_run_without_a_file(dfsq: Callable, recipe: str) -> None:
    Path("killed.py").write_text(SCRIPT + KILLED)
    before = sorted(Path().rglob("*"))
    run = torchrun(2, "killed.py", "quantize", "model.pth", "-o", "q.safetensors", "--recipe", recipe, *SMALL)
    assert run.returncode != 0
    assert lines(run) == [
        "dfsq: a worker process was lost or the run was terminated; no file was left unfinished, run again"
    ]
    assert sorted(Path().rglob("*")) == before


def test_an_error_of_one_process_is_told_once(dfsq: Callable) -> None:
    content = Path("photos/img1.png").read_bytes()
    Path("photos/img1.png").write_bytes(content[: len(content) // 2])
    run = torchrun(2, "-m", "dfsq", "eval", "model.pth", "--hr", "photos", "--report", "r.json")
    assert run.returncode != 0
    (line,) = lines(run)
    assert line.startswith("dfsq: photos/img1.png is no readable image")
    assert not Path("r.json").exists()


def test_an_error_of_all_processes_is_told_once(dfsq: Callable) -> None:
    run = torchrun(2, "-m", "dfsq", "quantize", "nothing.pth")
    assert run.returncode != 0
    assert lines(run) == ["dfsq: nothing.pth does not exist"]


def test_a_failed_gate_is_told_once_and_the_report_written(dfsq: Callable) -> None:
    gate = ("--data", "benchmark", "--set", "Set5", "--min-psnr", "Set5=99", "--json", "--report", "r.json")
    run = torchrun(2, "-m", "dfsq", "eval", "model.pth", *gate)
    assert run.returncode != 0
    assert "exitcode  : 3" in run.stderr
    (line,) = lines(run)
    assert "min-psnr failed" in line
    assert json.loads(run.stdout) == json.loads(Path("r.json").read_text())


TRAINED = {  # ddtb without gates, which normalize by the crops of their process
    "trained": "method: trained\nsteps: 8\n",
    "ddtb": "method: ddtb\nsteps: 8\nwarm_up: 2\nhalve_every: 3\nratio: 0.0\n",
}


STOPPED = """
from calibration.methods.trained_network import TrainedNetwork
loss = TrainedNetwork.loss
def stopped(self, step, lr, hr):
    if step == 4 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return loss(self, step, lr, hr)
TrainedNetwork.loss = stopped
main(sys.argv[1:])
"""


def test_a_process_that_is_terminated_leaves_a_state_to_go_on_from(dfsq: Callable) -> None:
    # 20 steps are scored at every second, which writes a state in any case: step 5 is none of them.
    Path("short.yaml").write_text("method: trained\nsteps: 20\nbatch: 4\ncrop_size: 16\nprecision: f32\n")
    common = ("quantize", "model.pth", "--recipe", "short.yaml", *SMALL, "--patches", "2", "-o", "a.safetensors")
    Path("stopped.py").write_text(SCRIPT + STOPPED)
    run = torchrun(2, "stopped.py", *common)
    assert run.returncode != 0
    (line,) = lines(run)
    assert line.endswith("the training so far is in a.safetensors.training, and the same command goes on from it")
    state = Path("a.safetensors.training").read_bytes()
    assert (
        json.loads(json.loads(state[8 : 8 + int.from_bytes(state[:8], "little")])["__metadata__"]["dfsq.training"])[
            "step"
        ]
        == 5
    )
    again = dfsq(*common)
    assert again.code == 0, again.err
    assert not Path("a.safetensors.training").exists()


@pytest.mark.parametrize("method", TRAINED)
def test_two_processes_train_as_one_does(dfsq: Callable, method: str) -> None:
    # Gradients of halves of a batch are added in another order: the same model but for the last bits of sums.
    Path("short.yaml").write_text(TRAINED[method] + "batch: 4\ncrop_size: 16\nw_bits: 3\na_bits: 3\nprecision: f32\n")
    common = ("quantize", "model.pth", "--recipe", "short.yaml", *SMALL, "--patches", "2")
    assert dfsq(*common, "-o", "one.safetensors").code == 0
    for out in ("two.safetensors", "again.safetensors"):
        run = torchrun(2, "-m", "dfsq", *common, "-o", out)
        assert run.returncode == 0, run.stderr
    assert Path("two.safetensors").read_bytes() == Path("again.safetensors").read_bytes()
    one, two = load("one.safetensors"), load("two.safetensors")
    x = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        assert (one(x) - two(x)).abs().mean() < 0.02 * (one(x) - load("model.pth")(x)).abs().mean()
