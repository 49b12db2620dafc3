"""Networks of spandrel, randomly initialised and small: the same outputs as spandrel's own."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from calibration import FixedRanges, quantize, recipe
from dfsq import load, save
from dfsq.artifact import read
from dfsq.errors import CheckpointError, UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.networks import build, from_state

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
DAT = {
    "upscale": 2,
    "img_size": 16,
    "split_size": [4, 8],
    "depth": [3],
    "embed_dim": 32,
    "num_heads": [4],
    "expansion_factor": 2,
    "upsampler": "pixelshuffledirect",
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

DAT_CASE = ("DAT", "DAT", DAT, 2, ["conv_first", "upsample.0"])


def random_state(module: str, name: str, arguments: dict[str, Any]) -> State:
    torch.manual_seed(0)
    net: nn.Module = getattr(import_module(f"spandrel.architectures.{module}"), name)(**arguments)
    return net.state_dict()


def from_spandrel(module: str, state: State, **options: Any) -> SRModel:
    """By spandrel, even where dfsq knows the network itself."""
    return from_state(state, arch=f"spandrel:{module}", **options)


@pytest.fixture(scope="module")
def registry(spandrel: Any) -> Any:
    return spandrel.MAIN_REGISTRY


@pytest.mark.parametrize(("module", "name", "arguments", "scale", "outside"), [*CASES, DAT_CASE])
def test_computes_what_spandrel_computes(
    registry: Any, module: str, name: str, arguments: dict[str, Any], scale: int, outside: list[str]
) -> None:
    state = random_state(module, name, arguments)
    model = from_spandrel(module, state)
    assert model.info.architecture == f"spandrel:{module}"
    assert (model.scale, model.info.rgb_range, model.info.channels) == (scale, 1.0, 3)
    assert model.info.found == {
        "architecture": "parameter names, by spandrel",
        "scale": "shapes, by spandrel",
        "rgb_range": "usual",
    }
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

    info = replace(model.info, hyperparameters=json.loads(json.dumps(model.info.hyperparameters)))
    again = build(info, model.net.state_dict())
    image = torch.rand(2, 3, 18, 20)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))
    assert again.body == model.body


def test_parameters_keep_their_names(registry: Any) -> None:
    state = random_state("SwinIR", "SwinIR", SWINIR)
    parameters = dict(registry.load(dict(state)).model.named_parameters())
    assert from_spandrel("SwinIR", state).net.state_dict().keys() == parameters.keys()


# What spandrel's constructors compute from their arguments alone, by attribute.
COMPUTED: dict[str, list[str]] = {
    "SwinIR": ["attn_mask", "relative_position_index"],
    "HAT": ["relative_position_index_OCA", "relative_position_index_SA"],
    "DAT": ["attn_mask_0", "attn_mask_1", "relative_position_index", "rpe_biases"],
}


@pytest.mark.parametrize("case", [case for case in [*CASES, DAT_CASE] if case[0] in COMPUTED], ids=lambda case: case[0])
def test_buffers_that_the_network_computes_are_not_stored(registry: Any, case: Any, tmp_path: Path) -> None:
    module, name, arguments, *_ = case
    original = random_state(module, name, arguments)
    model = from_spandrel(module, original)
    left_out = original.keys() - model.net.state_dict().keys()
    assert {key.rpartition(".")[2] for key in left_out} == set(COMPUTED[module])
    assert all(torch.equal(model.net.get_buffer(key), original[key]) for key in left_out)

    image = torch.rand(1, 3, 21, 30)
    quantized = quantize(model, [image], FixedRanges(weights="minmax", selector="minmax", outside_bits=8))
    path = tmp_path / "model.safetensors"
    save(quantized, path)
    assert not left_out & read(path).shapes.keys()
    with torch.inference_mode():
        assert torch.equal(load(path)(image), quantized(image))


def test_buffers_of_another_kind_are_stored(registry: Any) -> None:
    state = random_state("DAT", "DAT", DAT)
    mask = "layers.0.blocks.2.attn.attn_mask_0"
    state[mask] = torch.full_like(state[mask], -7.0)
    kept = from_state(state).net.state_dict()
    assert torch.equal(kept[mask], state[mask])
    statistics = {key for key in state if key.endswith(("running_mean", "num_batches_tracked"))}
    assert statistics and statistics <= kept.keys()


@pytest.mark.parametrize("case", [*CASES, DAT_CASE], ids=lambda case: case[0])
def test_descriptions_of_earlier_releases_still_build(registry: Any, case: Any) -> None:
    """They held nothing but the scale, and the state every buffer and of SPAN the convolution of inference."""
    module, name, arguments, scale, _ = case
    state = random_state(module, name, arguments)
    model = from_spandrel(module, state)
    buffers = {key for key, _ in registry.load(dict(state)).model.named_buffers()} & state.keys()
    stored = {**{key: state[key] for key in buffers}, **model.net.state_dict()}
    again = build(NetworkInfo(f"spandrel:{module}", {"scale": scale}, scale, 1.0), stored)
    image = torch.rand(1, 3, 18, 20)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))


def test_attention_layers_are_in_scope(registry: Any) -> None:
    body = from_spandrel("SwinIR", random_state("SwinIR", "SwinIR", SWINIR)).body
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
    assert from_spandrel("SwinIR", state, scale=2, rgb_range=255.0).info.rgb_range == 255.0
    with pytest.raises(UsageError, match="^`scale` 3, but this spandrel:SwinIR checkpoint upscales by 2"):
        from_spandrel("SwinIR", state, scale=3)


LUMINANCE: list[tuple[str, str, dict[str, Any], int]] = [
    ("SwinIR", "SwinIR", {**SWINIR, "in_chans": 1}, 2),
    ("Compact", "Compact", {"num_in_ch": 1, "num_out_ch": 1, "num_feat": 8, "num_conv": 2, "upscale": 3}, 3),
    ("DnCNN", "DnCNN", {"in_nc": 1, "out_nc": 1, "nc": 4, "nb": 17}, 1),
]


@pytest.mark.parametrize(("module", "name", "arguments", "scale"), LUMINANCE)
def test_luminance(registry: Any, module: str, name: str, arguments: dict[str, Any], scale: int) -> None:
    state = random_state(module, name, arguments)
    model = from_spandrel(module, state)
    assert (model.info.channels, model.scale) == (1, scale)
    assert model.body
    again = build(model.info, model.net.state_dict())
    assert again.body == model.body
    image = torch.rand(1, 1, 19, 24)
    with torch.no_grad():
        result = model.net(image)
        assert torch.equal(again.net(image), result)
    torch.testing.assert_close(result.clamp(0, 1), registry.load(dict(state))(image), rtol=1e-3, atol=1e-4)


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("SwinIR", "SwinIR", {**SWINIR, "in_chans": 4}, "maps 4 to 4 channels; only 3 to 3 and 1 to 1 are supported"),
    ("Compact", "Compact", {"num_in_ch": 1, "num_feat": 8, "num_conv": 2}, "maps 1 to 3 channels"),
    ("SeemoRe", "SeemoRe", {"scale": 2, "embedding_dim": 16, "num_layers": 1}, "SeemoRe is not supported"),
]


@pytest.mark.parametrize(("module", "name", "arguments", "message"), REFUSED)
def test_refuses_other_kinds_of_networks(
    registry: Any, module: str, name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        from_spandrel(module, random_state(module, name, arguments))


def test_unknown_to_both(spandrel: Any) -> None:
    with pytest.raises(CheckpointError, match=r"unknown architecture; tried carn.*; spandrel does not know it either"):
        from_state({"some.thing": torch.zeros(3)})


def test_misjudged_by_spandrel(spandrel: Any) -> None:
    with pytest.raises(CheckpointError, match="unknown architecture; .*; spandrel fails to load it: "):
        from_state({"body.0.weight": torch.zeros(8, 3, 3, 3), "body.1.weight": torch.zeros(8)})


def test_state_or_version_that_does_not_fit_a_description(registry: Any) -> None:
    model = from_spandrel("SwinIR", random_state("SwinIR", "SwinIR", SWINIR))
    state = model.net.state_dict()
    newer = NetworkInfo("spandrel:Unheard", {"scale": 2}, 2, 1.0)
    with pytest.raises(CheckpointError, match="does not know spandrel:Unheard; upgrade spandrel"):
        build(newer, state)
    with pytest.raises(CheckpointError, match="does not fit spandrel:SwinIR: unexpected: more"):
        build(model.info, {**state, "more": torch.zeros(1)})
    del state["conv_first.bias"]
    with pytest.raises(CheckpointError, match="does not fit spandrel:SwinIR: missing: conv_first.bias"):
        build(model.info, state)


@pytest.mark.parametrize("odd", [None, "abc", -1, [], {}, 10**30, float("nan"), ["x"], {"network": 1}, True, 7])
@pytest.mark.parametrize("field", ["scale", "network", "arguments", "size", "computed"])
def test_description_that_cannot_be(registry: Any, field: str, odd: Any) -> None:
    model = from_spandrel("SwinIR", random_state("SwinIR", "SwinIR", SWINIR))
    info = replace(model.info, hyperparameters={**model.info.hyperparameters, field: odd})
    with pytest.raises(CheckpointError) as caught:
        build(info, model.net.state_dict())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "odd"), [("img_size", 10**4), ("embed_dim", 10**30), ("mlp_ratio", float("nan")), ("depths", [2] * 10**6)]
)
def test_argument_that_the_state_does_not_account_for(registry: Any, name: str, odd: Any) -> None:
    model = from_spandrel("SwinIR", random_state("SwinIR", "SwinIR", SWINIR))
    described = model.info.hyperparameters
    info = replace(model.info, hyperparameters={**described, "arguments": {**described["arguments"], name: odd}})
    with pytest.raises(CheckpointError, match="an argument (is|has) .*; the state"):
        build(info, model.net.state_dict())


def test_spandrel_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"unknown architecture.*; pip install 'dfsq\[zoo\]' to try spandrel"):
        from_state({"some.thing": torch.zeros(3)})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "raise RuntimeError('operator image::read does not exist\\nTraceback: and more')",
            "image::read does not exist",
        ),
        ("import einops_that_nobody_has", "'einops_that_nobody_has'"),
        ("raise OSError('libc10.so: cannot open shared object file')", "libc10.so: cannot open"),
    ],
)
def test_spandrel_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    (tmp_path / "spandrel.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "spandrel"]:
        monkeypatch.delitem(sys.modules, name)
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
        quantize(model, [images], recipe("fast", w_bits=3, a_bits=3, compensation=each, feedback=each))
        for each in (False, True)
    )
    with torch.inference_mode():
        errors = [float((each(unseen) - model(unseen)).square().mean()) for each in (plain, closer)]
    assert errors[1] < errors[0]
