"""Every architecture, randomly initialised and small: what is built is recognised again, in every spelling."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfsq.errors import CheckpointError, UsageError
from dfsq.evaluation.bicubic import upscale
from dfsq.networks import architectures, build, from_state

State = dict[str, Tensor]
CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    *(("edsr", {"scale": s, "blocks": s, "features": 8, "residual_scale": 1.0}) for s in (2, 3, 4)),
    ("edsr", {"scale": 2, "blocks": 1, "features": 256, "residual_scale": 0.1}),
    *(("srresnet", {"scale": s, "blocks": 2, "features": 8, "bias": s == 3}) for s in (2, 3, 4)),
    *(("msrresnet", {"scale": s, "blocks": s, "features": 8}) for s in (2, 3, 4)),
    *(("rdn", {"scale": s, "blocks": 3, "convs": 2, "features": 8, "growth": 4}) for s in (2, 3, 4)),
    ("rdn", {"scale": 4, "blocks": 2, "convs": 4, "features": 12, "growth": 8}),
    *(("imdn", {"scale": s, "blocks": 2, "features": 16, "distilled": 4, "squeezed": 2}) for s in (2, 3, 4)),
    ("imdn", {"scale": 2, "blocks": 6, "features": 24, "distilled": 6, "squeezed": 3}),
    *(("rfdn", {"scale": s, "blocks": 4, "features": 12, "distilled": 6, "attention": 3}) for s in (2, 3, 4)),
    ("rfdn", {"scale": 2, "blocks": 6, "features": 16, "distilled": 4, "attention": 5}),
    *(("rlfn", {"scale": s, "blocks": 6, "features": 8, "middle": 8, "attention": 4}) for s in (2, 3, 4)),
    ("rlfn", {"scale": 4, "blocks": 4, "features": 6, "middle": 10, "attention": 3}),
    *(("pan", {"scale": s, "blocks": 2, "features": 8, "upsampled": 6}) for s in (2, 3, 4)),
    *(("carn", {"scale": s, "features": 8, "mobile": True, "groups": 4}) for s in (2, 3, 4)),
    *(("carn", {"scale": s, "features": 8, "mobile": False, "groups": 1}) for s in (2, 3, 4)),
    *(
        ("rrdb", {"scale": s, "blocks": 2, "features": 8, "growth": 4, "unshuffle": u})
        for s, u in ((4, 1), (2, 1), (3, 1), (1, 1), (8, 1), (16, 1), (2, 2), (1, 4))
    ),
    *(("espcn", {"scale": s, "widths": [8, 6], "activation": "tanh"}) for s in (2, 3, 4)),
    ("espcn", {"scale": 2, "widths": [8, 8, 6], "activation": "relu"}),
    *(("fsrcnn", {"scale": s, "features": 8, "shrunken": 4, "mappings": s}) for s in (2, 3, 4)),
    *(("srcnn", {"scale": s, "widths": [8, 6], "kernels": [9, s - 1, 5]}) for s in (2, 4)),
    *(("vdsr", {"scale": s, "layers": s, "features": 8, "bias": s == 3}) for s in (2, 3, 4)),
]
SWINIR = {"features": 8, "depths": [2, 3], "heads": [2, 4], "window": 4, "hidden": 12, "upsampled": 64, "deep": False}
SWINIR |= {"bias": True, "embedding_norm": True, "shifted": True}
CONFIGURATIONS += [
    *(("swinir", {**SWINIR, "scale": s, "upsampler": "pixelshuffledirect"}) for s in (2, 3, 4)),
    *(("swinir", {**SWINIR, "scale": s, "upsampler": "pixelshuffle", "upsampled": 6}) for s in (2, 3, 4, 8)),
    *(("swinir", {**SWINIR, "scale": s, "upsampler": "nearest+conv", "deep": True}) for s in (2, 4)),
    ("swinir", {**SWINIR, "scale": 1, "upsampler": "", "bias": False, "embedding_norm": False}),
]
FIRST = {name: each for name, each in reversed(CONFIGURATIONS)}
VARIANTS = [(name, {**each, "channels": 3}) for name, each in CONFIGURATIONS]
VARIANTS += [(name, {**each, "channels": 1}) for name, each in FIRST.items()]
VARIANTS += [("rrdb", {**FIRST["rrdb"], "scale": 2, "unshuffle": 2, "channels": 1})]


def random_state(name: str, configuration: dict[str, Any]) -> tuple[nn.Module, State]:
    torch.manual_seed(0)
    net = architectures()[name].build(**configuration).eval()
    for buffer_name, buffer in net.named_buffers():
        if buffer_name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
        elif buffer_name.endswith("running_mean"):
            buffer.normal_()
    return net, net.state_dict()


def enlarged(net: nn.Module, images: Tensor, scale: int, rgb_range: float) -> Tensor:
    """What a network of one or three channels makes of RGB images, by the definition of BT.601 in studio range."""
    red, green, blue = images.double().unbind(1)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    luma = (16 + 219 * grey[:, None]) / 255
    luma = (net(luma.float() * rgb_range) / rgb_range).double()[:, 0]
    blueness, redness = (
        torch.stack([torch.tensor(upscale(each.numpy()[:, :, None], scale))[:, :, 0] for each in chroma])
        for chroma in ((blue - grey) / 1.772, (red - grey) / 1.402)
    )
    grey = (luma * 255 - 16) / 219
    red, blue = grey + 1.402 * redness, grey + 1.772 * blueness
    green = (grey - 0.299 * red - 0.114 * blue) / 0.587
    return torch.stack((red, green, blue), 1).float()


@pytest.mark.parametrize(("name", "configuration"), VARIANTS)
def test_recognised_again(name: str, configuration: dict[str, Any]) -> None:
    net, state = random_state(name, configuration)
    model = from_state(state, scale=configuration["scale"])

    assert model.info.architecture == name
    assert model.info.hyperparameters == configuration
    assert model.scale == configuration["scale"]
    assert model.info.channels == configuration["channels"]
    images = torch.rand(2, 3, 17, 22)
    with torch.no_grad():
        result = model(images)
        if model.info.channels == 3:
            expected = net(images * model.info.rgb_range) / model.info.rgb_range
        else:
            expected = enlarged(net, images, model.scale, model.info.rgb_range)
    assert result.shape == (2, 3, 17 * model.scale, 22 * model.scale)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "configuration"), VARIANTS)
def test_built_again_from_its_description(name: str, configuration: dict[str, Any]) -> None:
    _, state = random_state(name, configuration)
    model = from_state(state, scale=configuration["scale"])
    again = build(model.info, model.net.state_dict())
    images = torch.rand(1, 3, 16, 18)
    with torch.no_grad():
        assert torch.equal(model(images), again(images))
    assert again.body == model.body


@pytest.mark.parametrize("name", sorted(architectures()))
def test_descriptions_from_before_luminance_networks_mean_three_channels(name: str) -> None:
    configuration = FIRST[name]
    model = from_state(random_state(name, configuration)[1], scale=configuration["scale"])
    info = replace(model.info, hyperparameters=configuration)
    images = torch.rand(1, 3, 16, 18)
    with torch.no_grad():
        assert torch.equal(build(info, model.net.state_dict())(images), model(images))


SWINIR_LIGHT = {"features": 60, "depths": [6] * 4, "heads": [6] * 4, "window": 8, "hidden": 120}
SWINIR_LIGHT |= {"upsampler": "pixelshuffledirect"}
# Parameters in thousands, as the authors of each network or of the papers that compare them publish.
PUBLISHED = [
    ("edsr", {"scale": 2, "blocks": 16, "features": 64, "residual_scale": 1.0}, 1370),
    ("edsr", {"scale": 3, "blocks": 16, "features": 64, "residual_scale": 1.0}, 1555),
    ("edsr", {"scale": 4, "blocks": 16, "features": 64, "residual_scale": 1.0}, 1518),
    ("edsr", {"scale": 4, "blocks": 32, "features": 256, "residual_scale": 0.1}, 43090),
    ("msrresnet", {"scale": 4, "blocks": 16, "features": 64}, 1518),
    ("rdn", {"scale": 2, "blocks": 16, "convs": 8, "features": 64, "growth": 64}, 22123),
    ("rdn", {"scale": 3, "blocks": 16, "convs": 8, "features": 64, "growth": 64}, 22308),
    ("rdn", {"scale": 4, "blocks": 16, "convs": 8, "features": 64, "growth": 64}, 22271),
    ("rrdb", {"scale": 4, "blocks": 23, "features": 64, "growth": 32, "unshuffle": 1}, 16698),
    ("imdn", {"scale": 3, "blocks": 6, "features": 64, "distilled": 16, "squeezed": 4}, 703),
    ("pan", {"scale": 2, "blocks": 16, "features": 40, "upsampled": 24}, 261),
    ("pan", {"scale": 4, "blocks": 16, "features": 40, "upsampled": 24}, 272),
    ("rlfn", {"scale": 4, "blocks": 6, "features": 52, "middle": 52, "attention": 16}, 544),
    ("rlfn", {"scale": 4, "blocks": 4, "features": 46, "middle": 48, "attention": 16}, 317),
    ("imdn", {"scale": 4, "blocks": 8, "features": 64, "distilled": 16, "squeezed": 0}, 894),
    ("srcnn", {"scale": 2, "widths": [64, 32], "kernels": [9, 1, 5], "channels": 1}, 8),
    ("fsrcnn", {"scale": 3, "features": 56, "shrunken": 12, "mappings": 4, "channels": 1}, 13),
    ("vdsr", {"scale": 4, "layers": 18, "features": 64, "bias": False, "channels": 1}, 665),
    *(("swinir", {**SWINIR_LIGHT, "scale": s}, thousands) for s, thousands in ((2, 910), (3, 918), (4, 930))),
]


@pytest.mark.parametrize(("name", "configuration", "thousands"), PUBLISHED)
def test_published_number_of_parameters(name: str, configuration: dict[str, Any], thousands: int) -> None:
    with torch.device("meta"):
        net = architectures()[name].build(**configuration)
    assert round(sum(parameter.numel() for parameter in net.parameters()) / 1000) == thousands


def test_published_number_of_parameters_of_carn_with_its_three_heads() -> None:
    parameters: State = {}
    with torch.device("meta"):
        for scale in (2, 3, 4):
            net = architectures()["carn"].build(scale=scale, features=64, mobile=False, groups=1)
            parameters.update(net.state_dict())
    assert round(sum(parameter.numel() for parameter in parameters.values()) / 1000) == 1592


def spelled(state: State, *rules: tuple[str, str]) -> State:
    for pattern, replacement in rules:
        state = {re.sub(pattern, replacement, key): value for key, value in state.items()}
    return state


def old_esrgan(upsamplings: int) -> Callable[[State], State]:
    """The spelling of the first ESRGAN release: one sequence, in which upsampling, convolution and activation count."""

    def respell(state: State) -> State:
        after = 2 if upsamplings == 0 else 3 * upsamplings + 2
        return spelled(
            state,
            (r"^conv_first", "model.0"),
            (r"^body\.(\d)\.rdb(\d)\.conv(\d)", r"model.1.sub.\1.RDB\2.conv\3.0"),
            (r"^conv_body", "model.1.sub.2"),
            (r"^conv_up1", "model.3"),
            (r"^conv_up2", "model.6"),
            (r"^conv_hr", f"model.{after}"),
            (r"^conv_last", f"model.{after + 2}"),
        )

    return respell


def second_esrgan(state: State) -> State:
    return spelled(
        state,
        (r"^body\.(\d)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2"),
        (r"^conv_body", "trunk_conv"),
        (r"^conv_up", "upconv"),
        (r"^conv_hr", "HRconv"),
    )


def mmsr(state: State) -> State:
    return spelled(state, (r"^body", "recon_trunk"), (r"^conv_hr", "HRconv"))


def cadyq(state: State) -> State:
    respelled = spelled(
        state,
        (r"^conv_input", "head.0"),
        (r"^relu", "head.1"),
        (r"^residual\.(\d)\.relu", r"body.\1.act"),
        (r"^residual\.(\d)\.in", r"body.\1.bn"),
        (r"^residual", "body"),
        (r"^conv_mid", "body.2"),
        (r"^bn_mid", "body.3"),
        (r"^upscale", "tail.0"),
        (r"^conv_output", "tail.1"),
    )
    unused = {"sub_mean.weight": torch.ones(3, 3, 1, 1), "add_mean.bias": torch.ones(3)}
    return {**respelled, **unused}


def without_counters(state: State) -> State:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def mmediting_msrresnet(state: State) -> State:
    return spelled(state, (r"^upconv(\d)", r"upsample\1.upsample_conv"))


def lower_case_rdn(state: State) -> State:
    last = max(key for key in state if key.startswith("UPNet")).removesuffix(".weight").replace(".", r"\.")
    return spelled(
        state,
        (rf"^{last}", "output"),
        (r"^UPNet", "upscale"),
        (r"^SFENet", "sfe"),
        (r"^RDBs\.(\d)\.convs\.(\d)\.conv\.0", r"rdbs.\1.layers.\2.conv"),
        (r"^RDBs\.(\d)\.LFF", r"rdbs.\1.lff"),
        (r"^GFF", "gff"),
    )


def ntire(state: State) -> State:
    return spelled(state, (r"^conv_1", "fea_conv"), (r"^block_", "B"), (r"^conv_2", "LR_conv"))


def single_scale(state: State) -> State:
    return spelled(state, (r"^upsample\.up\d", "upsample.up"))


RRDB = {"blocks": 2, "features": 8, "growth": 4}
CARN = {"features": 8, "mobile": True, "groups": 2}
SRRESNET = {"scale": 4, "blocks": 2, "features": 8, "bias": False}
DIALECTS: list[tuple[str, dict[str, Any], Callable[[State], State]]] = [
    ("msrresnet", {"scale": 4, "blocks": 2, "features": 8}, mmsr),
    *(("msrresnet", {"scale": s, "blocks": 2, "features": 8}, mmediting_msrresnet) for s in (2, 3, 4)),
    *(("rdn", {"scale": s, "blocks": 2, "convs": 3, "features": 8, "growth": 8}, lower_case_rdn) for s in (2, 3, 4)),
    ("srresnet", SRRESNET, cadyq),
    ("srresnet", {**SRRESNET, "scale": 2}, cadyq),
    ("srresnet", SRRESNET, without_counters),
    ("rrdb", {**RRDB, "scale": 4, "unshuffle": 1}, second_esrgan),
    ("rrdb", {**RRDB, "scale": 2, "unshuffle": 2}, second_esrgan),
    ("rrdb", {**RRDB, "scale": 4, "unshuffle": 1}, old_esrgan(2)),
    ("rrdb", {**RRDB, "scale": 2, "unshuffle": 1}, old_esrgan(1)),
    ("rrdb", {**RRDB, "scale": 1, "unshuffle": 1}, old_esrgan(0)),
    ("rrdb", {**RRDB, "scale": 2, "unshuffle": 1, "channels": 1}, old_esrgan(1)),
    ("rlfn", {"scale": 4, "blocks": 4, "features": 6, "middle": 10, "attention": 3}, ntire),
    ("carn", {**CARN, "scale": 2}, single_scale),
    ("carn", {**CARN, "scale": 3}, single_scale),
    ("carn", {**CARN, "scale": 4}, single_scale),
]


@pytest.mark.parametrize(("name", "configuration", "respell"), DIALECTS)
def test_other_spellings_are_the_same_network(
    name: str, configuration: dict[str, Any], respell: Callable[[State], State]
) -> None:
    _, state = random_state(name, configuration)
    respelled = respell(state)
    assert respelled.keys() != state.keys()
    model, plain = from_state(respelled), from_state(state)
    assert model.info == plain.info
    images = torch.rand(1, 3, 16, 18)
    with torch.no_grad():
        assert torch.equal(model(images), plain(images))


@pytest.mark.parametrize("upsampler", ["upsample.#", "upsample.#.upsample_conv"])
def test_edsr_of_basicsr_and_mmediting_normalizes_outside_its_checkpoint(upsampler: str) -> None:
    _, state = random_state("edsr", {"scale": 4, "blocks": 2, "features": 8, "residual_scale": 1.0})
    for name in ("sub_mean", "add_mean"):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.eye(3).view(3, 3, 1, 1), torch.zeros(3)
    core = from_state(state, rgb_range=1.0)
    respelled = spelled(
        {key: value for key, value in state.items() if "_mean" not in key},
        (r"^head\.0", "conv_first"),
        (r"^body\.(\d)\.body\.0", r"body.\1.conv1"),
        (r"^body\.(\d)\.body\.2", r"body.\1.conv2"),
        (r"^body\.2", "conv_after_body"),
        (r"^tail\.0\.0", upsampler.replace("#", "0")),
        (r"^tail\.0\.2", upsampler.replace("#", "1" if "_" in upsampler else "2")),
        (r"^tail\.1", "conv_last"),
    )
    model = from_state(respelled)
    mean = torch.tensor((0.4488, 0.4371, 0.4040)).view(3, 1, 1)
    images = torch.rand(1, 3, 12, 14)
    with torch.no_grad():
        expected = core((images - mean) * 255.0) / 255.0 + mean
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)


def test_one_carn_file_serves_three_scales() -> None:
    state: State = {}
    for scale in (2, 3, 4):
        state.update(random_state("carn", {**CARN, "scale": scale})[1])
    assert from_state(state).scale == 2
    images = torch.rand(1, 3, 9, 8)
    for scale in (2, 3, 4):
        model = from_state(state, scale=scale)
        assert model(images).shape == (1, 3, 9 * scale, 8 * scale)
        assert sum("upsample" in name for name in model.net.state_dict()) == (4 if scale == 4 else 2)
    with pytest.raises(UsageError, match="`scale` 8.*2, 3, 4"):
        from_state(state, scale=8)


def test_mobile_carn_shares_one_unit_per_block() -> None:
    net, state = random_state("carn", {**CARN, "scale": 2})
    assert "b1.b2.body.0.weight" not in state
    calls = []
    net.get_submodule("b1.b1").register_forward_hook(lambda *_: calls.append(1))
    net(torch.rand(1, 3, 8, 8))
    assert len(calls) == 3


def test_pan_upscales_by_three_only_when_told() -> None:
    _, state = random_state("pan", {"scale": 3, "blocks": 1, "features": 8, "upsampled": 4})
    assert from_state(state).scale == 2
    assert from_state(state, scale=3).scale == 3
    with pytest.raises(UsageError, match="upscales by 2"):
        from_state(state, scale=4)


@pytest.mark.parametrize("name", ["rfdn", "rlfn"])
@pytest.mark.parametrize("size", [(3, 3), (7, 40), (14, 15)])
def test_attention_works_on_small_images(name: str, size: tuple[int, int]) -> None:
    configuration = next(each for known, each in CONFIGURATIONS if known == name)
    model = from_state(random_state(name, configuration)[1])
    assert model(torch.rand(1, 3, *size)).shape == (1, 3, 2 * size[0], 2 * size[1])


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 6)])
def test_unshuffling_networks_take_any_size(size: tuple[int, int]) -> None:
    model = from_state(random_state("rrdb", {**RRDB, "scale": 1, "unshuffle": 4})[1])
    assert model(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_rrdb_computes_what_spandrel_computes(spandrel: Any) -> None:
    for scale, unshuffle in ((4, 1), (2, 2), (1, 4)):
        # spandrel fixes the growth, and pads to multiples of 4 where 2 would do
        configuration = {"scale": scale, "blocks": 1, "features": 16, "growth": 32, "unshuffle": unshuffle}
        _, state = random_state("rrdb", configuration)
        images = torch.rand(1, 3, 16, 20)
        expected = spandrel.MAIN_REGISTRY.load(dict(state))(images)
        with torch.no_grad():
            result = from_state(state)(images).clamp(0, 1)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_srresnet_normalizes_by_stored_statistics() -> None:
    model = from_state(random_state("srresnet", SRRESNET)[1])
    first, second = torch.rand(2, 1, 3, 10, 10)
    with torch.no_grad():
        together = model(torch.cat((first, second)))
        torch.testing.assert_close(together[:1], model(first), rtol=1e-4, atol=1e-5)


def test_incomplete_and_contradicting_shapes() -> None:
    _, state = random_state("rdn", {"scale": 2, "blocks": 2, "convs": 2, "features": 8, "growth": 4})
    without = {key: value for key, value in state.items() if not key.startswith("RDBs.1.LFF")}
    with pytest.raises(CheckpointError, match="missing: RDBs.1.LFF.weight"):
        from_state(without)
    _, state = random_state("rrdb", {**RRDB, "scale": 4, "unshuffle": 1})
    state["conv_first.weight"] = state["conv_first.weight"][:, :1]
    with pytest.raises(CheckpointError, match="shapes of this ESRGAN"):
        from_state(state)
