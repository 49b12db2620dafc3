from __future__ import annotations

import os
import signal
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from calibration.ddtb import WeightRounding, published
from dfsq import networks, nn
from dfsq.model import Quantization, SRModel
from dfsq.networks.edsr import EDSR
from dfsq.nn import Gate
from dfsq.nn.gate import HIDDEN


@pytest.fixture(scope="session")
def data() -> Path:
    """Real checkpoints and benchmarks, which are not part of the repository."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("DFSQ_TEST_DATA", default)).resolve()
    if not (folder / "checkpoints").is_dir():
        pytest.skip(f"no benchmark data in {folder}; set DFSQ_TEST_DATA")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Tests interrupt programs, which start deaf to that where this one was started in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is compiled lies where the tests alone look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test sees the same random numbers, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def small_model() -> SRModel:
    """A randomly initialised EDSR ×2 with two blocks of eight features."""
    return networks.from_state(_small_net().state_dict())


@pytest.fixture
def plausible_model() -> SRModel:
    """The small model with what carries the colours through: it repeats pixels, and adds some noise of its own."""
    return _plausible_model()


@pytest.fixture(scope="session")
def make_gate() -> Callable[[int], Gate]:
    """Makes a gate of random values for an input of so many channels."""

    def make(channels: int) -> Gate:
        generator = torch.Generator().manual_seed(channels)
        first = torch.randint(-1, 2, (HIDDEN, channels), generator=generator).to(torch.int8)
        second = torch.randint(-1, 2, (2, HIDDEN), generator=generator).to(torch.int8)
        scale, shift = torch.randn(2, HIDDEN, generator=generator)
        return Gate(first, second, torch.tensor([0.4, 0.1]), scale, shift)

    return make


@pytest.fixture(scope="session")
def with_bounds(make_gate: Callable[[int], Gate]) -> Callable[[SRModel, bool], SRModel]:
    """Quantizes a model to two bits where DDTB does, between some bounds; the flag says whether some have gates."""

    def quantize(model: SRModel, gates: bool) -> SRModel:
        placement = published(model)
        for index, (name, place) in enumerate([*nn.places(model.net)]):
            gate = make_gate(place.channels) if gates and index % 2 == 0 else None
            nn.replace(model.net, name, nn.BoundsQuantizer(-9.0 - index, 20.0, 2, gate))
        for name in placement.weights:
            layer, weight = model.net.get_submodule(name), WeightRounding(2, 99.0)
            quantizer = None
            if name in placement.inputs:
                quantizer = nn.BoundsQuantizer(0.0, 15.0, 2, make_gate(nn.input_channels(layer)) if gates else None)
            nn.replace(model.net, name, nn.counterpart(layer, weight.frozen(layer.weight), quantizer))
        model.quantization = Quantization({"name": "by hand"}, {})
        return model

    return quantize


@pytest.fixture(scope="session")
def plausible_graph() -> bytes:
    """The plausible model as the content of an ONNX file, exported once."""
    for library in ("onnx", "onnxscript"):
        pytest.importorskip(library)
    from dfsq.export import to_onnx

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return to_onnx(_plausible_model()).SerializeToString()


def _plausible_model() -> SRModel:
    net = _small_net()
    upsampler, last = net.tail[0][0], net.tail[1]
    with torch.no_grad():
        for layer in (*net.body.modules(), upsampler, last):
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.mul_(0.02)
                layer.bias.mul_(0.02)
        for colour in range(3):
            net.head[0].weight[colour] = 0
            net.head[0].weight[colour, colour, 1, 1] = 1
            upsampler.weight[4 * colour : 4 * colour + 4, colour, 1, 1] += 1
            last.weight[colour, colour, 1, 1] += 1
    return networks.from_state(net.state_dict())


def _small_net() -> EDSR:
    net = EDSR(scale=2, blocks=2, features=8, residual_scale=1.0)
    for shift in (net.sub_mean, net.add_mean):
        torch.nn.init.dirac_(shift.weight)
        torch.nn.init.zeros_(shift.bias)
    return net


class _Metric(torch.nn.Module):
    """As ``pyiqa.create_metric`` returns it."""

    def __init__(self, name: str, device: str, lower_better: bool, metric_mode: str) -> None:
        super().__init__()
        self.metric_name, self.lower_better, self.metric_mode = name, lower_better, metric_mode
        self.device = device
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, target: torch.Tensor, ref: torch.Tensor | None = None) -> torch.Tensor:
        for each in (target, *(() if ref is None else (ref,))):
            assert each.dtype == torch.float32 and each.shape[:2] == (1, 3)
            assert each.min() >= 0 and each.max() <= 1
            self.shapes.append(tuple(each.shape))
        assert (ref is None) == (self.metric_mode == "NR")
        if self.metric_name == "broken":
            raise AssertionError("input must be larger\nthan this")
        return target.mean().view(1, 1) if ref is None else (target - ref).abs().mean().view(1, 1)


_METRICS = {
    "lpips": (True, "FR"),
    "niqe": (True, "NR"),
    "musiq": (False, "NR"),
    "broken": (True, "FR"),
    "fid": (True, "NR"),
}
"""Whether less is better, and whether there is a reference."""


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A stand-in with the interface of pyiqa, which is no dependency; the metrics that have been made of it."""
    made: list[_Metric] = []
    module = ModuleType("pyiqa")

    def create_metric(metric_name: str, as_loss: bool = False, device: Any = None, **_: Any) -> _Metric:
        if metric_name == "offline":
            raise OSError("no route to host")
        made.append(_Metric(metric_name, device, *_METRICS[metric_name]))
        return made[-1]

    module.create_metric = create_metric  # type: ignore[attr-defined]
    module.list_models = lambda: [*_METRICS, "offline"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return made
