"""Strips change what is in memory, not one bit of the result."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import calibration
import dfsq
from dfsq.engines.memory import footprint
from dfsq.engines.scratch import Scratch
from dfsq.engines.strips import run_in_strips
from dfsq.errors import DfsqError
from dfsq.evaluation import samples
from dfsq.evaluation.benchmarks import find
from dfsq.model import SRModel
from dfsq.networks import architectures, from_state
from dfsq.quantizers import native
from dfsq.runtime import compiled_quantizers

NETWORKS: dict[str, dict[str, Any]] = {
    "edsr": {"scale": 3, "blocks": 2, "features": 16, "residual_scale": 0.1},
    "srresnet": {"scale": 2, "blocks": 2, "features": 16, "bias": False},
    "msrresnet": {"scale": 4, "blocks": 2, "features": 16},
    "rdn": {"scale": 2, "blocks": 3, "convs": 2, "features": 16, "growth": 8},
    "imdn": {"scale": 3, "blocks": 2, "features": 16, "distilled": 4, "squeezed": 2},
    "rfdn": {"scale": 2, "blocks": 4, "features": 16, "distilled": 8, "attention": 4},
    "rlfn": {"scale": 2, "blocks": 4, "features": 16, "middle": 12, "attention": 4},
    "pan": {"scale": 4, "blocks": 2, "features": 16, "upsampled": 12},
    "carn": {"scale": 3, "features": 16, "mobile": True, "groups": 4},
    "rrdb": {"scale": 2, "blocks": 2, "features": 16, "growth": 8, "unshuffle": 2},
    "espcn": {"scale": 3, "widths": [64, 32], "activation": "tanh", "channels": 1},
    "fsrcnn": {"scale": 2, "features": 56, "shrunken": 12, "mappings": 4, "channels": 1},
    "srcnn": {"scale": 2, "widths": [32, 16], "kernels": [9, 5, 5], "channels": 1},
    "vdsr": {"scale": 3, "layers": 3, "features": 16, "bias": False, "channels": 1},
    "swinir": {
        **{"scale": 2, "features": 16, "depths": [2], "heads": [2], "window": 4, "hidden": 24},
        "upsampler": "pixelshuffledirect",
    },
}


def assert_same_in_strips(model: SRModel, image: Tensor, folder: Path, heights: tuple[int, ...]) -> None:
    with torch.inference_mode():
        whole = model(image)
    for rows in heights:
        with Scratch(folder) as scratch:
            assert torch.equal(run_in_strips(model, image, rows, scratch), whole), rows
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", sorted(architectures()))
def test_every_architecture(name: str, tmp_path: Path) -> None:
    net = architectures()[name].build(**NETWORKS[name])
    model = from_state(net.state_dict(), scale=NETWORKS[name]["scale"])
    assert_same_in_strips(model, torch.rand(1, 3, 53, 64), tmp_path, (1, 3, 7, 100))


@pytest.mark.parametrize("name", ["IMDN_x2.pth", "rlfn_x2.pth", "PANx4_DF2K.pth", "carn_m.pth", "edsr-baseline-x2"])
def test_real_networks(data: Path, name: str, tmp_path: Path) -> None:
    model, image = real(data, name)
    assert_same_in_strips(model, image, tmp_path, (1, 7, 20))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["IMDN_x2.pth", "rlfn_x2.pth", "PANx4_DF2K.pth", "edsr-baseline-x2"])
@pytest.mark.parametrize("changes", [{}, {"feedback": True, "scope": "all"}])
def test_quantized_networks(data: Path, name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    model, image = real(data, name)
    recipe = calibration.recipe("fast", w_bits=4, a_bits=4, patches=2, **changes)
    patches = calibration.PatchStream([data / "images" / "bsds500-test"], scale=model.scale, patches=2)
    with compiled_quantizers() if changes else nullcontext():  # feedback by torch: the next test
        assert_same_in_strips(calibration.quantize(model, patches, recipe), image, tmp_path, (3, 16))


@pytest.mark.parametrize("compiled", [False, True])
def test_how_far_a_quantized_network_has_come(
    compiled: bool, tmp_path: Path, small_model: SRModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "library", None)
    if compiled:
        try:
            native.build()
        except RuntimeError as error:
            pytest.skip(str(error))
    patches = calibration.PatchStream(samples.calibration_images(), scale=2, patches=2, patch_size=64)
    model = calibration.quantize(small_model, patches, calibration.recipe("fast", feedback=True))
    image = torch.rand(1, 3, 90, 80)
    assert_same_in_strips(model, image, tmp_path, (4, 30))
    done: list[int] = []
    with Scratch(tmp_path) as scratch:
        run_in_strips(model, image, 10, scratch, done.append)
    assert sum(done) == pytest.approx(footprint(model).work * 90 * 80)


def real(data: Path, name: str) -> tuple[SRModel, Tensor]:
    embedded = name.startswith("edsr")
    model = dfsq.load(name if embedded else data / "checkpoints" / name)
    lr, _ = find(data / "benchmark", "Set5", model.scale).pairs[0].read(model.scale)
    return model, torch.tensor(lr[:61, :70]).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: torch.nn.functional.conv2d(x, torch.ones(4, 8, 7, 3), stride=(3, 1), padding=(2, 0), dilation=(2, 1)),
        lambda x: torch.nn.functional.conv2d(x, torch.ones(8, 1, 3, 3), padding=1, groups=8),
        lambda x: torch.nn.functional.conv_transpose2d(x, torch.ones(8, 4, 4, 4), stride=2, padding=1),
        lambda x: torch.nn.functional.pad(x, (1, 2, 3, 4), mode="reflect"),
        lambda x: torch.nn.functional.pad(x, (1, 2, 3, 4)),
        lambda x: torch.nn.functional.interpolate(x, scale_factor=2.5, mode="bicubic"),
        lambda x: torch.softmax(x.flatten(2).transpose(1, 2) @ torch.ones(8, 6), -1),
        lambda x: torch.nn.functional.layer_norm(x, x.shape[1:]),
        lambda x: x.permute(0, 2, 3, 1).reshape(-1).mul_(2).view(50, 80, 8).std(1),
        lambda x: torch.where(x > 0.5, x.new_zeros(()), x.double()).float().relu_().contiguous(),
        lambda x: x[x > 0.5],
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_operations(operation: Callable[[Tensor], Tensor], layout: torch.memory_format, tmp_path: Path) -> None:
    image = torch.rand(1, 8, 50, 80).contiguous(memory_format=layout)
    expected = operation(image.clone())
    with Scratch(tmp_path) as scratch:
        result = run_in_strips(operation, image.clone(), 6, scratch)
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
        assert result.stride() == expected.stride()


def test_what_is_written_in_place_is_seen_through_views(tmp_path: Path) -> None:
    def network(x: Tensor) -> Tensor:
        maps = torch.nn.functional.conv2d(x, torch.ones(32, 3, 3, 3), padding=1)
        maps[:, 2:20].mul_(3)
        left, right = maps.chunk(2, dim=3)
        right.copy_(left)
        return maps

    image = torch.rand(1, 3, 50, 80)
    with Scratch(tmp_path) as scratch:
        assert torch.equal(run_in_strips(network, image, 9, scratch), network(image))


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with Scratch(tmp_path) as scratch, pytest.raises(DfsqError, match="No space left on device; choose another folder"):
        run_in_strips(lambda x: x * 2, torch.rand(1, 3, 100, 100), 10, scratch)


MEMORY = """
import sys, tempfile, torch
from pathlib import Path
from dfsq.engines.scratch import Scratch
from dfsq.engines.strips import run_in_strips
from dfsq.networks import from_state
from dfsq.networks.edsr import EDSR

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

model = from_state(EDSR(scale=2, blocks=2, features=64, residual_scale=1.0).state_dict())
image = torch.rand(1, 3, 1600, 320)
before = peak()
if sys.argv[1] == "whole":
    with torch.inference_mode():
        result = model(image)
else:
    with Scratch(Path(sys.argv[2])) as scratch:
        result = run_in_strips(model, image, 16, scratch)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_is_bound_by_the_strip(tmp_path: Path) -> None:
    def peak(way: str) -> int:
        run = subprocess.run(
            [sys.executable, "-c", MEMORY, way, tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return int(run.stdout)

    maps = 1600 * 320 * 64 * 4  # bytes of one activation; that before the pixel shuffle has four times as many
    assert peak("whole") > 8 * maps
    assert peak("strips") < 3 * maps
