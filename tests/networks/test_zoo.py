"""Networks of spandrel, randomly initialised and small: the same outputs as spandrel's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from calibration import Recipe, quantize
from dfsq.errors import CheckpointError, UsageError
from dfsq.networks import build, from_state, zoo

State = dict[str, Tensor]
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")
SWINIR = {
    "upscale": 2,
    "img_size": 16,
    "window_size": 8,
    "depths": [2],
    "embed_dim": 8,
    "num_heads": [2],
    "mlp_ratio": 2,
    "upsampler": "pixelshuffledirect",
    "resi_connection": "1conv",
}
HAT = {
    "upscale": 2,
    "img_size": 16,
    "window_size": 8,
    "depths": [1],
    "embed_dim": 12,
    "num_heads": [2],
    "mlp_ratio": 2,
    "upsampler": "pixelshuffle",
    "compress_ratio": 3,
    "squeeze_factor": 3,
}
CASES: list[tuple[str, str, dict[str, Any], int, list[str]]] = [
    # module, class, arguments, scale, some layers out of body scope
    ("SwinIR", "SwinIR", SWINIR, 2, ["conv_first", "upsample.0"]),
    ("SPAN", "SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 4}, 4, ["upsampler.0"]),
    ("Compact", "Compact", {"num_feat": 8, "num_conv": 2, "upscale": 3}, 3, ["body.0", "body.6"]),
    ("HAT", "HAT", HAT, 2, ["conv_first", "upsample.0", "conv_last"]),
    ("RCAN", "RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}, 2, ["sub_mean", "head.0"]),
    ("NAFNet", "NAFNet", {"width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}, 1, ["intro", "ending"]),
]


def random_state(module: str, name: str, arguments: dict[str, Any]) -> State:
    torch.manual_seed(0)
    net: nn.Module = getattr(import_module(f"spandrel.architectures.{module}"), name)(**arguments)
    return net.state_dict()


@pytest.fixture(scope="module")
def registry(spandrel: Any) -> Any:
    return spandrel.MAIN_REGISTRY


@pytest.mark.parametrize(("module", "name", "arguments", "scale", "outside"), CASES)
def test_computes_what_spandrel_computes(
    registry: Any, module: str, name: str, arguments: dict[str, Any], scale: int, outside: list[str]
) -> None:
    state = random_state(module, name, arguments)
    model = from_state(state)
    assert model.info.architecture == f"spandrel:{module}"
    assert (model.scale, model.info.rgb_range) == (scale, 1.0)
    for height, width in ((24, 33), (5, 9)):
        image = torch.rand(1, 3, height, width)
        expected = registry.load(dict(state))(image.clone())
        with torch.no_grad():
            result = model(image)
        assert result.shape == (1, 3, height * scale, width * scale)
        torch.testing.assert_close(result.clamp(0, 1), expected, rtol=1e-3, atol=1e-4)

    layers = [key for key, layer in model.net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert set(outside) <= set(layers) - set(model.body)
    assert set(model.body) <= set(layers)
    assert model.body

    again = build(model.info, model.net.state_dict())
    image = torch.rand(2, 3, 18, 20)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))
    assert again.body == model.body


def test_parameters_keep_their_names(registry: Any) -> None:
    state = random_state("SwinIR", "SwinIR", SWINIR)
    assert from_state(state).net.state_dict().keys() == state.keys()


def test_attention_layers_are_in_scope(registry: Any) -> None:
    body = from_state(random_state("SwinIR", "SwinIR", SWINIR)).body
    block = "layers.0.residual_group.blocks.1"
    assert {f"{block}.attn.qkv", f"{block}.attn.proj", f"{block}.mlp.fc1", f"{block}.mlp.fc2"} <= set(body)


def test_span_does_not_undo_the_quantization_of_its_weights(registry: Any) -> None:
    module, name, arguments, *_ = CASES[1]
    model = from_state(random_state(module, name, arguments))
    assert not any(".sk." in key or ".conv.1." in key for key in model.net.state_dict())
    layer = model.net.get_submodule("block_1.c1_r.eval_conv")
    assert isinstance(layer, nn.Conv2d)
    nn.init.zeros_(layer.weight)
    model(torch.rand(1, 3, 8, 8))
    assert not layer.weight.any()


def test_scale_and_range_can_be_given(registry: Any) -> None:
    state = random_state("SwinIR", "SwinIR", SWINIR)
    assert from_state(state, scale=2, rgb_range=255.0).info.rgb_range == 255.0
    with pytest.raises(UsageError, match="--scale 3, but this spandrel's SwinIR checkpoint upscales by 2"):
        from_state(state, scale=3)


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("DnCNN", "DnCNN", {"in_nc": 1, "out_nc": 1, "nc": 4, "nb": 17}, "maps 1 to 1 channels"),
    ("SeemoRe", "SeemoRe", {"scale": 2, "embedding_dim": 16, "num_layers": 1}, "SeemoRe is not supported"),
]


@pytest.mark.parametrize(("module", "name", "arguments", "message"), REFUSED)
def test_refuses_other_kinds_of_networks(
    registry: Any, module: str, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_state(random_state(module, name, arguments))


def test_unknown_to_both(spandrel: Any) -> None:
    with pytest.raises(CheckpointError, match=r"unknown architecture; tried carn.*; spandrel does not know it either"):
        from_state({"some.thing": torch.zeros(3)})


def test_misjudged_by_spandrel(spandrel: Any) -> None:
    with pytest.raises(CheckpointError, match="unknown architecture; .*; spandrel fails to load it: "):
        from_state({"body.0.weight": torch.zeros(8, 3, 3, 3), "body.1.weight": torch.zeros(8)})


def test_state_or_version_that_does_not_fit_a_description(registry: Any) -> None:
    model = from_state(random_state("SwinIR", "SwinIR", SWINIR))
    state = model.net.state_dict()
    del state["conv_first.bias"]
    with pytest.raises(CheckpointError, match="does not fit spandrel:SwinIR"):
        build(model.info, state)
    newer = type(model.info)("spandrel:Unheard", {"scale": 2}, 2, 1.0)
    with pytest.raises(CheckpointError, match="does not know spandrel:Unheard; upgrade spandrel"):
        build(newer, state)


def test_spandrel_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"unknown architecture.*; pip install 'dfsq\[zoo\]' to try spandrel"):
        from_state({"some.thing": torch.zeros(3)})


def broken(_name: str) -> ModuleType:
    raise RuntimeError("operator torchvision::nms does not exist\nTraceback: and more")


def halved(_name: str) -> ModuleType:
    raise ModuleNotFoundError("No module named 'einops'", name="einops")


@pytest.mark.parametrize(("importing", "reason"), [(broken, "torchvision::nms does not exist"), (halved, "'einops'")])
def test_spandrel_broken(monkeypatch: pytest.MonkeyPatch, importing: Callable[[str], ModuleType], reason: str) -> None:
    monkeypatch.setattr(zoo, "importlib", SimpleNamespace(import_module=importing))
    with pytest.raises(CheckpointError, match=f"spandrel cannot be imported: .*{reason}") as caught:
        from_state({"some.thing": torch.zeros(3)})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("module", "name", "arguments"), [case[:3] for case in CASES])
def test_error_feedback_and_compensation_come_closer(
    registry: Any, module: str, name: str, arguments: dict[str, Any]
) -> None:
    model = from_state(random_state(module, name, arguments))
    generator = torch.Generator().manual_seed(1)
    images, unseen = (torch.rand(4, 3, 24, 24, generator=generator) for _ in range(2))
    plain, closer = (
        quantize(model, [images], Recipe(w_bits=3, a_bits=3, compensation=each, feedback=each))
        for each in (False, True)
    )
    with torch.inference_mode():
        errors = [float((each(unseen) - model(unseen)).square().mean()) for each in (plain, closer)]
    assert errors[1] < errors[0]
