"""Networks of the user's own through every command."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import calibration
import dfsq as library
from dfsq.evaluation.samples import calibration_images
from dfsq.images.files import write_png

FEW = ("--patches", "1", "--patch-size", "48")
ZOO = Path(__file__).parents[1] / "networks" / "zoo_of_own"


@dataclass(frozen=True)
class Own:
    """One of the networks, as its user knows it."""

    file: str
    arch: str
    arguments: tuple[str, ...]
    scale: int
    rgb_range: str
    colour: str
    body: tuple[str, ...]
    full: tuple[str, ...]
    """What cannot be quantized."""

    @property
    def options(self) -> list[str]:
        return ["--arch", self.arch, *(part for each in self.arguments for part in ("--arch-arg", each))]

    def checkpoint(self) -> None:
        """Copy the file into the working folder, and save random weights beside it."""
        shutil.copy(ZOO / self.file, self.file)
        spec = importlib.util.spec_from_file_location("own_network", self.file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        torch.manual_seed(1)
        arguments: dict[str, Any] = {key: int(value) for key, value in (each.split("=") for each in self.arguments)}
        net = getattr(module, self.arch.rpartition(":")[2])(**arguments)
        torch.save({"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, "own.pth")


DEPTHWISE = Own(
    "depthwise.py",
    "depthwise:make_net",
    ("num_feat=8",),
    2,
    "0–1",
    "RGB",
    tuple(
        f"blocks.{block}.{layer}"
        for block in (0, 1)
        for layer in ("depthwise", "expand", "attention.qkv", "attention.project")
    ),
    ("matmul in blocks.0.attention", "matmul in blocks.1.attention"),
)
TRANSPOSED = Own(
    "transposed.py",
    "transposed.py:Net",
    (),
    3,
    "0–1",
    "RGB",
    ("inner", "before"),
    ("up (ConvTranspose2d)", "F.conv2d in smooth", "rows.along (Conv1d)"),
)
LUMINANCE = Own(
    "luminance.py",
    "./luminance.py:Net",
    (),
    2,
    "0–255",
    "luminance",
    tuple(f"blocks.{block}.{layer}" for block in (0, 1) for layer in ("one", "two")),
    (),
)
EVERY = pytest.mark.parametrize("own", [DEPTHWISE, TRANSPOSED, LUMINANCE], ids=lambda own: own.file)


def small_images() -> None:
    for folder, side in (("small", 60), ("one", 66)):
        Path(folder).mkdir()
        write_png(Path(folder) / "a.png", np.ascontiguousarray(calibration_images()[0][230 : 230 + side, :90]))


@EVERY
def test_every_command(dfsq: Callable, own: Own) -> None:
    own.checkpoint()
    small_images()
    options = own.options
    run = dfsq(*("quantize", "own.pth", *options, "-o", "q.safetensors", "--calib", "photos", *FEW, "--no-eval"))
    assert run.code == 0, run.err
    for name in own.full:
        assert name in run.out
    assert f"{len(own.body)} at W4A4" in run.out
    (line,) = [each for each in run.err.splitlines() if each.startswith("next: ")]
    words = shlex.split(line)
    assert words[words.index("--arch") + 1] == own.arch
    following = [each.replace("BENCHMARKS", "benchmark") for each in shlex.split(line.removeprefix("next: dfsq "))]
    if own.scale == 2 and own.colour == "RGB":
        assert dfsq(*following).code == 0

    run = dfsq("eval", "own.pth", "q.safetensors", *options, "--hr", "small", "--max-drop", "1", "--json")
    assert run.code == 0, run.err
    first, second = json.loads(run.out)["models"]
    assert first["network"] == second["network"] == re.sub(r"^\./", "", own.arch)
    assert first["sets"][0]["psnr_y"] > 15

    run = dfsq("inspect", "own.pth", *options, "--json")
    document = json.loads(run.out)
    assert (document["scale"], tuple(document["body"])) == (own.scale, own.body)
    assert document["found"]["scale"] == "run"
    shares = document["multiply_adds"]
    assert sum(shares[name] for name in ("inside", "outside", "full_precision")) == pytest.approx(1)
    assert {each["name"] for each in shares["in_full_precision"]} == {*own.full}
    for file in ("own.pth", "q.safetensors"):
        run = dfsq("inspect", file, *options)
        assert run.code == 0, run.err
        for expected in (own.rgb_range, f"×{own.scale}", own.colour, "multiply-adds", "sha256"):
            assert expected in run.out

    whole = dfsq("upscale", "q.safetensors", *options, "one/a.png", "-o", "whole.png")
    assert (whole.code, whole.out) == (0, "Wrote whole.png\n"), whole.err
    tiled = dfsq("upscale", "q.safetensors", *options, "one/a.png", "-o", "tiled.png", "--tile", "16")
    assert tiled.code == 0, tiled.err
    assert Path("tiled.png").read_bytes() == Path("whole.png").read_bytes()


@EVERY
def test_reloaded_outputs_are_equal_to_the_bit(dfsq: Callable, own: Own) -> None:
    own.checkpoint()
    arguments = {"num_feat": 8} if own.arguments else {}
    model = library.load("own.pth", arch=own.arch, arch_args=arguments)
    x = torch.rand(2, 3, 18, 21)
    for recipe in (calibration.recipe("fast", w_bits=3, a_bits=3), calibration.recipe("accurate")):
        quantized = calibration.quantize(model, [torch.rand(1, 3, 24, 24)], recipe)
        library.save(quantized, "q.safetensors")
        again = library.load("q.safetensors", arch=own.arch)
        library.save(again, "again.safetensors")
        with torch.inference_mode():
            assert torch.equal(again(x), quantized(x))
            assert not torch.equal(again(x), model(x))
        assert again.info == quantized.info
        assert again.body == model.body == own.body
        assert Path("again.safetensors").read_bytes() == Path("q.safetensors").read_bytes()


def test_compare(dfsq: Callable) -> None:
    TRANSPOSED.checkpoint()
    run = dfsq("compare", "own.pth", *TRANSPOSED.options, "--recipes", "fast", "--bits", "4,2", "--patches", "1")
    assert run.code == 0, run.err
    assert run.out.count("fast") == 2


def quantize(dfsq: Callable, own: Own, *options: str) -> None:
    own.checkpoint()
    run = dfsq("quantize", "own.pth", *own.options, "-o", "q.safetensors", *FEW, "--no-eval", *options)
    assert run.code == 0, run.err


def test_an_artifact_asks_for_its_code_and_runs_none_by_itself(dfsq: Callable) -> None:
    quantize(dfsq, DEPTHWISE)
    Path("depthwise.py").write_text("raise SystemError('executed')")
    for command in (("eval",), ("upscale", "photos", "-o", "out")):
        run = dfsq(command[0], "q.safetensors", *command[1:])
        assert run.code == 2
        assert "made by depthwise:make_net" in run.err and "--arch" in run.err
        run = dfsq(command[0], "q.safetensors", *command[1:], "--arch", "edsr")
        assert (run.code, "made by depthwise:make_net" in run.err) == (2, True)


def test_another_file_is_a_note_and_other_parameters_an_error(dfsq: Callable) -> None:
    quantize(dfsq, TRANSPOSED)
    Path("moved").mkdir()
    Path("moved/mine.py").write_text(Path("transposed.py").read_text())
    run = dfsq("inspect", "q.safetensors", "--arch", "moved/mine.py:Net")
    assert (run.code, run.err) == (0, "")
    Path("moved/mine.py").write_text(Path("transposed.py").read_text() + "\n# another\n")
    run = dfsq("inspect", "q.safetensors", "--arch", "moved/mine.py:Net")
    assert run.code == 0
    assert "mine.py:Net is not the file that the artifact was made with" in run.err
    Path("moved/mine.py").write_text(Path("transposed.py").read_text().replace("self.before", "self.after"))
    run = dfsq("inspect", "q.safetensors", "--arch", "moved/mine.py:Net")
    assert run.code == 2
    assert "makes another network than the artifact's" in run.err and "after.weight" in run.err


def test_arguments_of_an_artifact(dfsq: Callable) -> None:
    quantize(dfsq, DEPTHWISE)
    for given in ([], ["--arch-arg", "num_feat=8"]):
        assert dfsq("inspect", "q.safetensors", "--arch", DEPTHWISE.arch, *given).code == 0
    for given in ("num_feat=12", "num_blocks=2"):
        run = dfsq("inspect", "q.safetensors", "--arch", DEPTHWISE.arch, "--arch-arg", given)
        assert run.code == 2
        assert "the artifact was made with num_feat=8" in run.err


def test_an_artifact_of_a_known_network_needs_no_code(dfsq: Callable) -> None:
    dfsq("quantize", "model.pth", "-o", "known.safetensors", *FEW, "--no-eval")
    DEPTHWISE.checkpoint()
    run = dfsq("eval", "own.pth", "known.safetensors", *DEPTHWISE.options, "--json")
    assert run.code == 0, run.err
    assert [each["network"] for each in json.loads(run.out)["models"]] == ["depthwise:make_net", "edsr"]


def test_body_by_patterns(dfsq: Callable) -> None:
    quantize(dfsq, DEPTHWISE, "--body", "blocks.*.expand", "--body", "last")
    document = json.loads(dfsq("inspect", "q.safetensors", *DEPTHWISE.options, "--json").out)
    assert document["body"] == ["blocks.0.expand", "blocks.1.expand", "last"]
    assert [name for name, each in document["layers"].items() if each["a_bits"]] == document["body"]
    TRANSPOSED.checkpoint()
    run = dfsq("quantize", "own.pth", *TRANSPOSED.options, "--body", "up")
    assert run.code == 2
    assert "--body 'up' matches no layer of the network that can be quantized" in run.err


def test_what_a_file_prints_is_not_in_the_way(dfsq: Callable) -> None:
    TRANSPOSED.checkpoint()
    path = Path("transposed.py")
    path.write_text(path.read_text() + "\nprint('loading')\n")
    run = dfsq("eval", "own.pth", *TRANSPOSED.options, "--json")
    assert json.loads(run.out)["models"][0]["name"] == "own.pth"
    assert "loading" in run.err


def test_facts_of_a_report(dfsq: Callable) -> None:
    TRANSPOSED.checkpoint()
    dfsq("quantize", "own.pth", *TRANSPOSED.options, *FEW, "--report", "r.html", "--report", "r.json")
    assert "F.conv2d in smooth" in Path("r.html").read_text()
    shares = json.loads(Path("r.json").read_text())["multiply_adds"]
    assert "rows.along (Conv1d)" in {each["name"] for each in shares["in_full_precision"]}
