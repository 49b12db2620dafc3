"""DDTB from end to end, on small networks and few steps."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import calibration
import dfsq
from calibration import DDTB, PatchStream, Recipe
from calibration.ddtb import TrainableBounds
from calibration.ddtb.maps import upsampler
from calibration.ddtb.run import TrainedBounds
from calibration.progress import silent
from dfsq import artifact, distributed, networks
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.networks import architectures
from dfsq.nn import BoundsQuantizer

SMALL = {
    "edsr": {"scale": 2, "blocks": 2, "features": 8, "residual_scale": 1.0},
    "rdn": {"scale": 2, "blocks": 2, "convs": 2, "features": 8, "growth": 8},
    "srresnet": {"scale": 2, "blocks": 2, "features": 8, "bias": True},
    "msrresnet": {"scale": 2, "blocks": 1, "features": 8},
}


def small(name: str) -> SRModel:
    return networks.from_state(architectures()[name].build(**SMALL[name]).state_dict())


def normalized() -> SRModel:
    """An SRResNet that normalizes by what it has seen: by the statistics of nothing, bounds start far outside."""
    model = small("srresnet")
    for norm in [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]:
        norm.momentum = None  # the mean of all batches, of which there is one
    model.train()(torch.rand(4, 3, 16, 16))
    return model.eval()


def pictures(count: int = 12, side: int = 96) -> list[Any]:
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
    return [each.repeat(8, 0).repeat(8, 1) for each in coarse]


def stream(**options: Any) -> PatchStream:
    return PatchStream(pictures(), scale=2, patches=4, patch_size=48, **options)


def recipe(**changes: Any) -> DDTB:
    shared: dict[str, Any] = {"steps": 10, "batch": 4, "crop_size": 12, "warm_up": 3, "halve_every": 5, "ratio": 0.5}
    return DDTB(**{"w_bits": 2, "a_bits": 2, "precision": "f32", **shared, **changes})


def trained(model: SRModel, chosen: DDTB) -> tuple[TrainedBounds, Sequence[Tensor]]:
    patches = [torch.rand(4, 3, 16, 16)]
    start = chosen.start(model, patches, lambda model: 0.0, silent)
    return chosen.trainable(model, start, patches, torch.float32), patches


@pytest.mark.parametrize("name", SMALL)
def test_an_artifact_gives_the_same_and_holds_no_latent_weights(name: str, tmp_path: Path) -> None:
    model = small(name)
    quantized = calibration.quantize(model, stream(), recipe(steps=6, warm_up=1))
    path = tmp_path / "small.safetensors"
    dfsq.save(quantized, path)
    images = torch.rand(2, 3, 17, 20)
    loaded = dfsq.load(path)
    assert torch.equal(quantized(images), loaded(images))
    shapes = artifact.read(path).shapes
    assert not any("latent" in each for each in shapes)
    for layer in model.body:
        assert shapes[f"{layer}.weight.codes"]
        shape = model.net.get_submodule(layer).weight.shape
        assert all(each != shape for name, each in shapes.items() if name.startswith(f"{layer}."))


def test_all_kinds_of_parameters_are_trained() -> None:
    trainable, _ = trained(normalized(), recipe(warm_up=1, ratio=1.0))
    before = {name: each.clone() for name, each in trainable.module.state_dict().items()}
    optimizer = torch.optim.Adam([each for group in trainable.groups for each in group.parameters], lr=1e-3)
    for step in range(3):
        optimizer.zero_grad()
        trainable.loss(step, torch.rand(4, 3, 12, 12), torch.rand(4, 3, 24, 24)).backward()
        optimizer.step()
    after = trainable.module.state_dict()
    same = [name for name, each in before.items() if torch.equal(each, after[name])]
    frozen = ("started", "unit", "_extra_state")
    assert [name for name in same if not name.endswith(frozen)] == []


def test_gates_are_applied_after_warm_up_alone() -> None:
    trainable, _ = trained(small("edsr"), recipe(warm_up=2))
    lr, hr = torch.rand(4, 3, 12, 12), torch.rand(4, 3, 24, 24)

    def gates() -> int:
        kinds = [each for each in trainable.frozen().modules() if isinstance(each, BoundsQuantizer)]
        return sum(each.gate is not None for each in kinds)

    assert gates() == 0
    trainable.loss(1, lr, hr)
    assert gates() == 0
    early = {name: each.clone() for name, each in trainable.module.state_dict().items()}
    trainable.loss(2, lr, hr)
    assert gates() == 3  # half of six
    trainable.module.load_state_dict(early)
    assert gates() == 0


@pytest.mark.parametrize("gated", [False, True])
def test_what_is_frozen_computes_what_is_trained(gated: bool) -> None:
    trainable, patches = trained(small("rdn"), recipe(warm_up=3))
    before = trainable.frozen()
    trainable.loss(3 if gated else 2, torch.rand(4, 3, 12, 12), torch.rand(4, 3, 24, 24))
    trainable.module.eval()
    with torch.no_grad():
        found = trainable.frozen()(patches[0])
        assert torch.allclose(trainable.module(patches[0]), found, atol=1e-5)
        assert torch.equal(found, before(patches[0])) != gated


def test_processes_share_what_batch_normalization_has_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two threads stand for the processes, and give each other their sums.
    model, patches = normalized(), [torch.rand(4, 3, 16, 16)]
    images = [(torch.rand(4, 3, 12, 12), torch.rand(4, 3, 24, 24)) for _ in range(2)]

    def seen(index: int) -> list[Tensor]:
        """By the network and its gates, in a step on one half of the images."""
        chosen = recipe(ratio=1.0)
        start = chosen.start(model, patches, lambda model: 0.0, silent)
        trainable = chosen.trainable(model, start, patches, torch.float32)
        trainable.loss(0, *images[index]).backward()  # type: ignore[no-untyped-call]
        state = trainable.module.state_dict()
        return [each for name, each in state.items() if name.endswith(("running_mean", "running_var"))]

    one, other = seen(0), seen(1)
    barrier, given = Barrier(2), dict[int, Tensor]()

    def total(tensor: Tensor) -> Tensor:
        given[get_ident()] = tensor
        barrier.wait(60)
        return torch.stack([*given.values()]).sum(0)

    monkeypatch.setattr(distributed, "total", total)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(seen, range(2))
    assert len(first) == 2 * (5 + 4)  # normalizations of the network, and a gate at each of four inputs
    for alone, beside, together, too in zip(one, other, first, second, strict=True):
        assert not torch.equal(alone, beside)
        assert torch.equal(together, too)
        assert torch.allclose(together, (alone + beside) / 2, rtol=1e-5)


def test_a_short_run_lowers_the_drop_on_images_that_it_never_saw() -> None:
    chosen = recipe(steps=60, warm_up=6, halve_every=40, rate=0.001, bound_rate=0.05)
    torch.manual_seed(0)
    model = small("srresnet")
    found = calibration.quantize(model, stream(), chosen).quantization
    assert found is not None
    assert found.calibration["drop"] < found.calibration["drop_before"] - 3


def test_start_is_a_network_that_is_quantized_everywhere() -> None:
    trainable, _ = trained(small("edsr"), recipe())
    kinds = [each for each in trainable.frozen().modules() if isinstance(each, BoundsQuantizer)]
    assert len(kinds) == 6
    assert all(each.upper - each.lower > 0.1 for each in kinds)


def test_bounds_start_as_if_there_were_no_gates() -> None:
    def bounds(ratio: float) -> list[float]:
        torch.manual_seed(1)
        trainable, _ = trained(model, recipe(ratio=ratio))
        found = [each for each in trainable.module.modules() if isinstance(each, TrainableBounds)]
        assert all((each.gate is not None) == (ratio > 0) for each in found)
        return [each.item() for one in found for each in (one.lower, one.upper)]

    model = small("edsr")
    assert len(bounds(1.0)) == 12
    assert bounds(1.0) == bounds(0.0)


def test_lr_images_are_refused() -> None:
    with pytest.raises(UsageError, match="needs HR images"):
        calibration.quantize(small("edsr"), stream(is_lr=True), recipe())


def test_a_batch_too_small_for_gates_is_refused() -> None:
    with pytest.raises(UsageError, match="batch is 1; gates need at least 2"):
        trained(small("edsr"), recipe(batch=1))


@pytest.mark.parametrize("name, scale, size", [("edsr", 2, 48), ("edsr", 4, 48), ("rdn", 2, 32), ("rdn", 4, 24)])
def test_crops_are_as_large_as_published(name: str, scale: int, size: int) -> None:
    model = networks.from_state(architectures()[name].build(**{**SMALL[name], "scale": scale}).state_dict())
    assert DDTB().crops_for(model) == (16, size, 1)
    assert DDTB(batch=3, crop_size=20).crops_for(model) == (3, 20, 1)


def test_skipped_layers_stay_and_bits_are_chosen_by_name() -> None:
    chosen = recipe(skip=("body.0.*",), layer_bits=(("body.1.body.2", 4),))
    trainable, _ = trained(small("edsr"), chosen)
    net = trainable.frozen().net
    assert type(net.get_submodule("body.0.body.0")) is nn.Conv2d
    layer = net.get_submodule("body.1.body.2")
    assert layer.quantized_weight.bits == layer.input_quantizer.bits == 4
    with pytest.raises(UsageError, match="matches nothing"):
        trained(small("edsr"), recipe(skip=("nowhere",)))


def test_a_short_run_is_the_schedule_in_small(tmp_path: Path) -> None:
    def schedule(chosen: Recipe) -> tuple[int, int, int]:
        assert isinstance(chosen, DDTB)
        return chosen.steps, chosen.gates_from, chosen.interval

    assert schedule(DDTB()) == (60_000, 4000, 10_000)
    for short in (DDTB(steps=600), DDTB().with_steps(600), calibration.recipe("ddtb", steps=600)):
        assert schedule(short) == (600, 40, 100)
    assert schedule(DDTB(steps=1)) == (1, 0, 1)
    path = tmp_path / "own.yaml"
    path.write_text("method: ddtb\nsteps: 200\nwarm_up: 50\nhalve_every: 70\n")
    own = calibration.recipe(str(path), steps=100)
    assert schedule(own) == (100, 50, 70)
    assert isinstance(own, DDTB)
    assert schedule(own.with_steps(10)) == (10, 5, 7)
    assert schedule(own.with_steps(1)) == (1, 0, 1)


def test_a_warm_up_as_long_as_the_run_is_refused() -> None:
    with pytest.raises(UsageError, match="`warm_up` is 20, and .* must be below `steps`, 20; leave it out"):
        recipe(warm_up=20, steps=20)
    with pytest.raises(UsageError, match="`warm_up` is 30"):
        recipe(warm_up=30, steps=60).changed(steps=20)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("edsr", "tail.0.0"), ("rdn", "UPNet.0"), ("srresnet", "upscale.0"), ("msrresnet", "upconv1")],
)
def test_upsampler(name: str, layer: str) -> None:
    assert upsampler(small(name), torch.rand(1, 3, 12, 12)) == layer
