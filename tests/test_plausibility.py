"""Loading decides what names and shapes leave open, by what comes out; what comes out wrong is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import calibration
import dfsq
from dfsq.errors import CheckpointError, UsageError
from dfsq.images.samples import photograph
from dfsq.model import SRModel
from dfsq.networks import architectures
from dfsq.networks.recognition import scale_in
from dfsq.plausibility import ImplausibleError

State = dict[str, Tensor]


def embedded() -> State:
    return dict(dfsq.load("edsr-baseline-x2").net.state_dict())


def residual_scale(state: State) -> State:
    """The same function with residuals scaled by 0.1: second convolutions of blocks times ten."""
    return {key: value * 10 if ".body.2." in key else value for key, value in state.items()}


def range_one(state: State) -> State:
    """The same function in 0–1: a network of ReLUs is homogeneous but for its biases."""
    return {key: value / 255 if key.endswith("bias") else value for key, value in state.items()}


def upscaled(model: SRModel) -> Tensor:
    crop = photograph("flower")[100:130, 100:140]
    with torch.inference_mode():
        return model(torch.from_numpy(crop / 255).float().permute(2, 0, 1)[None])


@pytest.mark.parametrize(
    ("change", "rgb_range", "scaled", "found"),
    [
        (dict, 255, 1.0, {"rgb_range": "mean colour in the file", "residual_scale": "usual"}),
        (range_one, 1, 1.0, {"rgb_range": "mean colour in the file"}),
        (residual_scale, 255, 0.1, {"residual_scale": "check"}),
        (lambda state: range_one(residual_scale(state)), 1, 0.1, {"residual_scale": "check"}),
    ],
)
def test_one_function_stored_in_several_ways(
    tmp_path: Path, change: object, rgb_range: float, scaled: float, found: dict[str, str]
) -> None:
    state = embedded()
    torch.save(change(state), tmp_path / "net.pt")  # type: ignore[operator]
    model = dfsq.load(tmp_path / "net.pt")
    assert model.info.rgb_range == rgb_range
    assert model.info.hyperparameters["residual_scale"] == scaled
    assert found.items() <= model.info.found.items()
    torch.testing.assert_close(upscaled(model), upscaled(dfsq.load("edsr-baseline-x2")), rtol=0, atol=1e-4)


def test_a_range_that_does_not_show_is_found_by_the_check_and_said(data: Path) -> None:
    model = dfsq.load(data / "checkpoints" / "rfdn_rep_x4.pth")
    assert (model.info.rgb_range, model.info.found["rgb_range"]) == (1, "check")
    assert any("0–1 taken, as 0–255 fails" in note for note in model.notes)


def test_published_networks_pass_as_they_are(data: Path) -> None:
    expected = {"IMDN_x2": 1, "IMDN_x4": 1, "PANx4_DF2K": 1, "rlfn_x2": 255, "carn_m": 1, "RFDN_AIM_x4": 255}
    expected |= {"imdn_kair_x4": 1, "rlfn_ntire_x4": 255}
    for name, rgb_range in expected.items():
        model = dfsq.load(data / "checkpoints" / f"{name}.pth")
        assert (model.info.rgb_range, model.notes) == (rgb_range, ()), name
        assert model.info.found["rgb_range"] in ("usual", "mean colour in the file"), name
        assert model.info.fidelity is not None
        assert model.info.fidelity > 36, name


@pytest.mark.parametrize(("file", "wrong"), [("IMDN_x4.pth", 255), ("rlfn_x2.pth", 1), ("rfdn_rep_x4.pth", 255)])
def test_a_wrong_range_is_refused_even_where_its_picture_looks_like_one(data: Path, file: str, wrong: float) -> None:
    with pytest.raises(UsageError, match="leave `rgb_range` out, or use `force`"):
        dfsq.load(data / "checkpoints" / file, rgb_range=wrong)
    model = dfsq.load(data / "checkpoints" / file, rgb_range=wrong, force=True)
    assert model.info.rgb_range == wrong
    assert "it was forced" in model.notes[0]


@pytest.mark.parametrize("name", ["edsr", "imdn", "rlfn"])
def test_random_weights_are_refused_with_what_was_tried(tmp_path: Path, name: str) -> None:
    hyperparameters = {
        "edsr": {"scale": 2, "blocks": 1, "features": 8, "residual_scale": 1.0},
        "imdn": {"scale": 2, "blocks": 2, "features": 16, "distilled": 4, "squeezed": 2},
        "rlfn": {"scale": 2, "blocks": 1, "features": 8, "middle": 8, "attention": 4},
    }[name]
    torch.save(architectures()[name].build(**hyperparameters).state_dict(), tmp_path / "random.pth")
    with pytest.raises(ImplausibleError, match="range 1.*: .* dB.*`rgb_range`, `arch` or `arch_args`, or use `force`"):
        dfsq.load(tmp_path / "random.pth")
    forced = dfsq.load(tmp_path / "random.pth", force=True)
    assert len(forced.notes) == 1
    assert dfsq.load(tmp_path / "random.pth", check=False).info.fidelity is None


def test_an_artifact_remembers_what_the_check_said(tmp_path: Path) -> None:
    torch.save(architectures()["edsr"].build(2, 1, 8, 1.0).state_dict(), tmp_path / "random.pth")
    for source, failed in (("edsr-baseline-x2", False), (tmp_path / "random.pth", True)):
        model = dfsq.load(source, force=True)
        quantized = calibration.quantize(model, [torch.rand(1, 3, 24, 24)], calibration.recipe("fast", patches=1))
        dfsq.save(quantized, tmp_path / "a.safetensors")
        reloaded = dfsq.load(tmp_path / "a.safetensors")
        assert reloaded.info.fidelity == model.info.fidelity
        assert any("failed the plausibility check" in note for note in reloaded.notes) == failed


def test_arch_args_override_what_shapes_do_not_show(tmp_path: Path) -> None:
    torch.save(residual_scale(embedded()), tmp_path / "net.pt")
    model = dfsq.load(tmp_path / "net.pt", arch_args={"residual_scale": 0.1})
    assert model.info.found["residual_scale"] == "option"
    with pytest.raises(ImplausibleError, match="residual_scale 1.0"):
        dfsq.load(tmp_path / "net.pt", arch_args={"residual_scale": 1.0})
    with pytest.raises(UsageError, match="no hyper-parameter 'residual'; it has scale, blocks"):
        dfsq.load(tmp_path / "net.pt", arch_args={"residual": 0.1})


def shifting_pan(path: Path) -> None:
    """A PAN that moves the picture by one large pixel: by less of a small one, and so better, at ×3 than at ×2."""
    net = architectures()["pan"].build(scale=3, blocks=1, features=6, upsampled=6)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for colour in range(3):
            net.conv_first.weight[colour, colour, 1, 1] = 1
            net.upconv1.weight[colour, colour, 1, 0] = 1  # moved
            net.upconv1.weight[colour + 3, colour, 1, 1] = 1  # as it was
            net.conv_last.weight[colour, colour, 1, 1] = 1
            net.conv_last.weight[colour, colour + 3, 1, 1] = -1
        for channel in range(6):
            net.HRconv1.weight[channel, channel, 1, 1] = 2  # its attention weighs everything by half
    torch.save(net.state_dict(), path)


@pytest.mark.parametrize(
    ("file", "options", "scale", "found"),
    [
        ("net.pth", {}, 3, "check"),
        ("PANx3_DF2K.pth", {}, 3, "file name"),
        ("net.pth", {"scale": 2}, 2, "option"),
        ("PANx2.pth", {"scale": 3}, 3, "option"),
    ],
)
def test_a_scale_that_no_shape_shows(
    tmp_path: Path, file: str, options: dict[str, int], scale: int, found: str
) -> None:
    shifting_pan(tmp_path / file)
    model = dfsq.load(tmp_path / file, **options)  # type: ignore[arg-type]
    assert (model.scale, model.info.found["scale"]) == (scale, found)
    assert bool(model.notes) == (found == "check")


def test_a_name_that_contradicts_the_check_asks_for_the_scale(tmp_path: Path) -> None:
    shifting_pan(tmp_path / "PANx2.pth")
    with pytest.raises(
        CheckpointError, match="its name says ×2, the check otherwise: ×2 .* dB, ×3 .* dB; give `scale`"
    ):
        dfsq.load(tmp_path / "PANx2.pth")


def test_a_multi_scale_file_says_which_head_it_took(data: Path) -> None:
    assert dfsq.load(data / "checkpoints" / "carn_m.pth").info.found["scale"] == "first of its heads ×2, ×3, ×4"
    assert dfsq.load(data / "checkpoints" / "carn_m.pth", scale=3).info.found["scale"] == "option"


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("PANx3_DF2K.pth", 3),
        ("IMDN_x4.pth", 4),
        ("4x-UltraSharp.pth", 4),
        ("RealESRGAN_x2plus.pth", 2),
        ("net_64x64.pth", None),
        ("x2x3.pth", None),
        ("net.pth", None),
        ("EDSR_X4.pt", 4),
        ("exp12x4.pth", None),
    ],
)
def test_scale_in_file_names(name: str, scale: int | None) -> None:
    assert scale_in(name) == scale
