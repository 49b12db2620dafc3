"""Training on trained points: better than its start on images that it never saw, and stored as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as decode
from torch import Tensor

import calibration
import dfsq
from calibration import PatchStream, Recipe, Sitting, Trained, quantize, target, train
from calibration.images import Image
from calibration.progress import silent
from calibration.training import loop
from calibration.training.crops import Crops
from dfsq import artifact, networks
from dfsq.errors import UsageError
from dfsq.evaluation.samples import calibration_images
from dfsq.model import SRModel
from dfsq.networks.imdn import IMDN
from dfsq.nn import SubsetQuantizer, quantized_layers
from dfsq.runtime import compiled_quantizers


def photos() -> list[Image]:
    """Six parts of the sample photographs: two of them are set aside."""
    return [np.ascontiguousarray(image[top : top + 72]) for image in calibration_images() for top in (0, 72, 144)]


def stream(is_lr: bool = False) -> PatchStream:
    return PatchStream(photos(), scale=2, patches=4, patch_size=48, is_lr=is_lr)


def recipe(bits: int = 2, **changes: object) -> Recipe:
    short = {"steps": 60, "batch": 4, "crop_size": 16, "warm_up": 5}
    return calibration.recipe("trained", w_bits=bits, a_bits=bits, **{**short, **changes})


def imdn() -> SRModel:
    net = IMDN(scale=2, blocks=2, features=16, distilled=4, squeezed=4)
    return networks.from_state(net.state_dict())


def distance(model: SRModel, other: SRModel) -> float:
    """Mean absolute difference on a picture that took no part."""
    image = torch.from_numpy(np.ascontiguousarray(calibration_images()[0][224:, 100:260])).permute(2, 0, 1)[None]
    with torch.no_grad():
        return (model(image.float() / 255) - other(image.float() / 255)).abs().mean().item()


def unasked(model: SRModel) -> float:
    raise AssertionError("there is nothing to choose from")


class Judge:
    """Scores by the distance to full precision: random networks lose nothing against photographs."""

    def __init__(self, full: SRModel) -> None:
        self.full = full

    def drop(self, model: SRModel) -> float:
        return distance(model, self.full)


@pytest.mark.parametrize(
    ("network", "ranges", "steps", "pace", "share"),
    [
        ("edsr", {"ranges": "fixed"}, 600, 1, 0.95),
        ("imdn", {"ranges": "fixed"}, 300, 1, 0.95),
        ("edsr", {"ranges": "sample", "block": None}, 150, 1, 0.9),
        ("edsr", {"ranges": "sample", "block": 8}, 150, 0.5, 0.96),
    ],
)
def test_a_short_run_comes_closer_to_full_precision(
    network: str, ranges: dict[str, Any], steps: int, pace: float, share: float, small_model: SRModel
) -> None:
    # Real networks come much closer, in minutes: docs/accuracy.md.
    model = small_model if network == "edsr" else imdn()
    eagerly = {"weight_rate": 0.05, "level_rate": 0.004, "point_rate": 0.01, "bias_rate": 0.01}
    eager = recipe(**ranges, steps=steps, **{name: pace * rate for name, rate in eagerly.items()})
    assert isinstance(eager, Trained)
    patches = list(stream())
    trainable = eager.trainable(model, eager.start(model, patches, unasked, silent), patches, torch.float32)
    crops = Crops(photos(), scale=2, size=16, batch=4, seed=0, is_lr=False, progress=silent)
    outcome = loop.train(trainable, crops, eager.steps, Judge(model), None, silent)  # type: ignore[arg-type]
    assert distance(trainable.frozen(), model) == outcome.scores[outcome.best] < share * outcome.scores[0]


def by_luma(errors: Tensor) -> np.ndarray:
    """``errors`` as they count: squared 0.25, and 2.25 more along luma."""
    luma = np.array([65.481, 128.553, 24.966])
    squares, directions = np.linalg.eigh(0.25 * np.eye(3) + 2.25 * np.outer(luma, luma) / (luma @ luma))
    root = directions * np.sqrt(squares) @ directions.T
    found: np.ndarray = np.einsum("cd,ndhw->nchw", root, errors.double().numpy())
    return found


@torch.no_grad()
def test_the_last_steps_go_by_root_mean_squares_too(small_model: SRModel) -> None:
    chosen = recipe(ranges="fixed", steps=10, squared_share=0.3)
    assert isinstance(chosen, Trained)
    patches = list(stream())
    start = chosen.start(small_model, patches, unasked, silent)
    trainable = chosen.trainable(small_model, start, patches, torch.float32)
    lr = torch.rand(2, 3, 16, 16)
    errors = by_luma(trainable.module(lr) - small_model(lr))
    absolute = np.abs(errors).mean()
    squared = np.mean([np.sqrt((each**2).mean()) for each in errors])
    assert float(trainable.loss(6, lr, None)) == pytest.approx(absolute, rel=1e-4)
    assert float(trainable.loss(7, lr, None)) == pytest.approx(absolute + squared, rel=1e-4)


def test_an_output_without_error_has_a_gradient(small_model: SRModel) -> None:
    chosen = recipe(ranges="fixed", squared_share=1.0, objective="target", target_share=1.0)
    assert isinstance(chosen, Trained)
    patches = list(stream())
    start = chosen.start(small_model, patches, unasked, silent)
    trainable = chosen.trainable(small_model, start, patches, torch.float32)
    lr = torch.rand(1, 3, 16, 16)
    trainable.loss(0, lr, trainable.module(lr).detach()).backward()  # type: ignore[no-untyped-call]
    gradients = [each.grad for each in trainable.module.parameters() if each.grad is not None]
    assert gradients and all(torch.isfinite(each).all() for each in gradients)


@pytest.mark.parametrize("bits", [2, 4])
def test_with_the_ranges_of_samples_it_starts_from_accurate(small_model: SRModel, bits: int) -> None:
    chosen = recipe(bits, ranges="sample")
    assert isinstance(chosen, Trained)
    start = chosen.start(small_model, list(stream()), unasked, silent).model
    accurate = quantize(small_model, stream(), calibration.recipe("accurate", w_bits=bits, a_bits=bits))
    x = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        # Sums in C and in torch differ in their last bits, which error feedback can make visible.
        assert (start(x) - accurate(x)).abs().mean() < 0.05 * (start(x) - small_model(x)).abs().mean()


def test_the_result_is_never_worse_on_the_images_set_aside(plausible_model: SRModel) -> None:
    harmful = recipe(ranges="fixed", weight_rate=1.0, level_rate=1.0, point_rate=1.0, bias_rate=1.0, steps=10)
    assert isinstance(harmful, Trained)
    rest, held_out = calibration.set_aside(photos(), scale=2, patch_size=48)
    start = harmful.start(plausible_model, list(stream().over(rest)), unasked, silent).model
    ruined = quantize(plausible_model, stream(), harmful)
    with compiled_quantizers():
        models = (plausible_model, start, ruined)
        full, before, after = (dfsq.evaluate(each, [held_out])[0].mean.psnr_y for each in models)
    assert ruined.quantization is not None
    found = ruined.quantization.calibration
    assert found["drop_before"] == pytest.approx(full - before)
    assert found["drop"] == pytest.approx(full - after)
    assert after >= before
    assert len(found["set_aside"]) == 2


def test_an_artifact_gives_the_same_outputs_and_holds_nothing_latent(small_model: SRModel, tmp_path: Path) -> None:
    trained = quantize(small_model, stream(), recipe(steps=10))
    dfsq.save(trained, tmp_path / "a.safetensors")
    loaded = dfsq.load(tmp_path / "a.safetensors")
    x = torch.rand(2, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(trained(x), loaded(x))
    contents = artifact.read(tmp_path / "a.safetensors").contents
    tensors = {name: tensor for content in contents for name, tensor in decode(content).items()}
    for name, layer in quantized_layers(trained.net):
        stored = {
            key.removeprefix(f"{name}.weight."): each
            for key, each in tensors.items()
            if key.startswith(f"{name}.weight.")
        }
        bits = layer.quantized_weight.bits
        assert stored["codes"].numel() == -(-layer.weight.numel() * bits // 8)
        assert not any(each.is_floating_point() and each.numel() >= layer.weight.numel() for each in stored.values())
    inputs = [layer.input_quantizer for _, layer in quantized_layers(trained.net) if layer.input_quantizer is not None]
    assert inputs and all(isinstance(each, SubsetQuantizer) for each in inputs)
    assert loaded.quantization is not None and loaded.quantization.recipe["steps"] == 10


def test_the_same_run_gives_the_same_model(small_model: SRModel) -> None:
    one, other = (quantize(small_model, stream(), recipe(steps=12)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_lr_images_will_do(small_model: SRModel) -> None:
    trained = quantize(small_model, stream(is_lr=True), recipe(steps=3))
    assert trained.quantization is not None and trained.quantization.calibration["patches"] == 4


def test_hr_images_are_the_aim_of_the_last_steps(small_model: SRModel) -> None:
    chosen = recipe(ranges="fixed", steps=10, objective="target", target_share=0.3, squared_share=0.0)
    assert isinstance(chosen, Trained) and chosen.needs_hr
    patches = list(stream())
    trainable = chosen.trainable(
        small_model, chosen.start(small_model, patches, unasked, silent), patches, torch.float32
    )
    crops = Crops(photos(), scale=2, size=16, batch=4, seed=0, is_lr=False, progress=silent)
    lr, hr = crops.of_step(0)
    assert hr is not None
    with torch.no_grad():
        now, aim = trainable.module(lr), small_model(lr)
        for step, expected in ((6, aim), (7, hr)):
            assert trainable.loss(step, lr, hr).item() == pytest.approx(np.abs(by_luma(now - expected)).mean())
    assert quantize(small_model, stream(), chosen).quantization is not None


def test_hr_images_are_the_aim_of_one_step_at_least(small_model: SRModel) -> None:
    chosen = recipe(ranges="fixed", steps=3, objective="target", target_share=0.1, squared_share=0.0)
    assert isinstance(chosen, Trained)
    patches = list(stream())
    start = chosen.start(small_model, patches, unasked, silent)
    trainable = chosen.trainable(small_model, start, patches, torch.float32)
    lr = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        now, aim, hr = trainable.module(lr), small_model(lr), torch.zeros(1, 3, 32, 32)
        for step, expected in ((1, aim), (2, hr)):
            assert trainable.loss(step, lr, hr).item() == pytest.approx(np.abs(by_luma(now - expected)).mean())
    with pytest.raises(UsageError, match="`target_share` is 0, .* or `objective` output"):
        recipe(objective="target", target_share=0.0)


def test_hr_images_as_the_aim_must_be_there(small_model: SRModel) -> None:
    with pytest.raises(UsageError, match="towards HR images needs HR images, and these are LR"):
        quantize(small_model, stream(is_lr=True), recipe(objective="target"))
    with pytest.raises(UsageError, match="`target_share` means nothing without `objective` target"):
        recipe(target_share=0.3)


@pytest.mark.parametrize("ranges", ["fixed", "sample"])
@pytest.mark.parametrize("feedback", [False, True])
def test_an_artifact_has_the_ranges_and_the_feedback_that_were_trained(
    small_model: SRModel, tmp_path: Path, ranges: str, feedback: bool
) -> None:
    trained = quantize(small_model, stream(), recipe(steps=3, ranges=ranges, feedback=feedback))
    dfsq.save(trained, tmp_path / "a.safetensors")
    loaded = dfsq.load(tmp_path / "a.safetensors")
    inputs = [layer.input_quantizer for _, layer in quantized_layers(loaded.net) if layer.input_quantizer is not None]
    assert inputs
    for each in inputs:
        assert isinstance(each, SubsetQuantizer)
        assert (each.fixed is not None) == (ranges == "fixed")
        assert (each.feedback is not None) == feedback
    x = torch.rand(2, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(trained(x), loaded(x))


@pytest.mark.parametrize("ranges", ["sample", "fixed"])
@pytest.mark.parametrize("bits", [None, 6])
def test_activations_outside_the_body_are_trained_too(
    small_model: SRModel, tmp_path: Path, bits: int | None, ranges: str
) -> None:
    trained = quantize(small_model, stream(), recipe(3, steps=3, scope="all", outside_bits=bits, ranges=ranges))
    dfsq.save(trained, tmp_path / "a.safetensors")
    loaded = dfsq.load(tmp_path / "a.safetensors")
    found = {name: each.input_quantizer for name, each in quantized_layers(loaded.net)}
    assert {name: each.bits for name, each in found.items() if each is not None} == {
        name: 3 if name in small_model.body else bits or 3 for name in found
    }
    x = torch.rand(1, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(trained(x), loaded(x))


@pytest.mark.parametrize(
    ("changes", "ranges", "crops"),
    [
        ({"a_bits": 2}, ("sample", "fixed"), (4, 48, 4)),
        ({"a_bits": 3}, ("sample",), (1, 96, 4)),
        ({"a_bits": 2, "ranges": "sample"}, ("sample",), (4, 48, 4)),
        ({"a_bits": 4, "ranges": "fixed"}, ("fixed",), (1, 96, 4)),
        ({"a_bits": 4, "crop_size": 32}, ("sample",), (9, 32, 4)),
        ({"a_bits": 2, "crop_size": 128, "ranges": "fixed"}, ("fixed",), (1, 128, 4)),
        ({"a_bits": 2, "batch": 7, "block": None, "candidates": 1}, ("sample", "fixed"), (7, 48, 1)),
    ],
)
def test_ranges_and_crops_where_the_recipe_leaves_them_open(
    small_model: SRModel, changes: dict[str, Any], ranges: tuple[str, ...], crops: tuple[int, int, int]
) -> None:
    chosen = calibration.recipe("trained", **changes)
    assert isinstance(chosen, Trained)
    assert chosen.possible_ranges == ranges
    assert chosen.crops_for(small_model) == crops


@pytest.mark.parametrize(("sample", "ranges"), [(0.5, "sample"), (0.59, "sample"), (0.61, "fixed"), (1.5, "fixed")])
def test_at_two_bits_fixed_ranges_make_up_for_a_start_that_is_a_little_worse(
    small_model: SRModel, sample: float, ranges: str
) -> None:
    def score(model: SRModel) -> float:
        quantizers = [each.input_quantizer for _, each in quantized_layers(model.net)]
        return (
            1.0 if any(isinstance(each, SubsetQuantizer) and each.fixed is not None for each in quantizers) else sample
        )

    chosen = recipe(headroom=2.0)
    assert isinstance(chosen, Trained)
    told: list[tuple[str, int]] = []
    start = chosen.start(small_model, list(stream()), score, lambda what, done, *_: told.append((what, done)))
    begun = [what for what, done in told if done == 0]
    parts = ["Compensating, first pass", "Measuring sensitivity, first pass", "Compensating"]
    assert begun == [
        "Measuring sensitivity",
        *(f"{part}, {each} ranges" for each in ("sample", "fixed") for part in parts),
    ]
    settled = chosen.settled(start)
    assert start.ranges == settled.ranges == ranges
    assert settled.headroom == (2.0 if ranges == "sample" else Trained().headroom)
    alone = settled.start(small_model, list(stream()), unasked, silent)
    x = torch.rand(1, 3, 20, 24)
    assert torch.equal(start.model(x), alone.model(x))


def test_the_artifact_says_which_ranges_were_taken(small_model: SRModel) -> None:
    trained = quantize(small_model, stream(), recipe(steps=1))
    quantizers = [layer.input_quantizer for _, layer in quantized_layers(trained.net)]
    fixed = any(isinstance(each, SubsetQuantizer) and each.fixed is not None for each in quantizers)
    assert trained.quantization is not None
    assert trained.quantization.recipe["ranges"] == ("fixed" if fixed else "sample")


def test_what_cannot_be_trained_is_refused(small_model: SRModel) -> None:
    with pytest.raises(UsageError, match="cuts crops of its own; give it a PatchStream"):
        quantize(small_model, [torch.rand(1, 3, 24, 24)], recipe())
    with pytest.raises(UsageError, match="the method one-pass does not train"):
        train(small_model, stream(), calibration.recipe("fast"), Sitting(minutes=1))
    with pytest.raises(UsageError, match="`steps` of the recipe are 60, and `minutes` 1 say how many fit"):
        train(small_model, stream(), recipe(), Sitting(minutes=1))
    with pytest.raises(UsageError, match="takes no plan of them"):
        target.check(recipe(), 0.1)


def test_rates_are_halved_for_every_bit_beyond_two_to_an_eighth(small_model: SRModel) -> None:
    chosen = calibration.recipe("trained", w_bits=2, a_bits=3, layer_bits=(("body.1.body.0", 4),))
    assert isinstance(chosen, Trained)
    patches = list(stream())
    trainable = chosen.trainable(
        small_model, chosen.start(small_model, patches, unasked, silent), patches, torch.float32
    )
    rates = {id(each): group.rate.peak for group in trainable.groups for each in group.parameters}

    def rate(name: str) -> float:
        return rates[id(dict(trainable.module.net.named_parameters())[name])]

    assert rate("body.0.body.0.weight.latent") == chosen.weight_rate
    assert rate("body.0.body.0.inputs.points") == chosen.point_rate / 2
    assert rate("body.1.body.0.weight.latent") == chosen.weight_rate / 4
    assert rate("body.1.body.0.weight.points") == chosen.level_rate / 4
    assert rate("body.1.body.0.inputs.points") == chosen.point_rate / 4
    assert rate("tail.0.0.weight.latent") == chosen.weight_rate / 8  # outside the body, of 8 bits
    assert rate("tail.0.0.bias") == chosen.bias_rate / 8
