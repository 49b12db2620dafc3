"""Published spellings whose networks are written down here once more, layer by layer, as their authors arrange them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dfsq.errors import CheckpointError
from dfsq.evaluation.bicubic import upscale
from dfsq.networks import architectures, build, from_state

Forward = Callable[[Tensor], Tensor]


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def module(**parts: nn.Module) -> nn.Module:
    """A module with these parts, for the names of its parameters."""
    net = nn.Module()
    for name, part in parts.items():
        net.add_module(name, part)
    return net.eval()


def bicubic(x: Tensor, scale: int) -> Tensor:
    image = x[0].permute(1, 2, 0).double().numpy()
    return torch.tensor(upscale(image, scale)).permute(2, 0, 1)[None].float()


def espcn(names: tuple[str, str]) -> tuple[nn.Module, Forward]:
    first = nn.Sequential(conv(1, 8, 5), nn.Tanh(), conv(8, 6), nn.Tanh())
    last = nn.Sequential(conv(6, 9), nn.PixelShuffle(3))
    return module(**dict(zip(names, (first, last), strict=True))), lambda x: last(first(x))


def espcn_of_pytorch() -> tuple[nn.Module, Forward]:
    layers = [conv(1, 8, 5), conv(8, 8), conv(8, 6), conv(6, 4)]

    def forward(x: Tensor) -> Tensor:
        for layer in layers[:-1]:
            x = layer(x).relu()
        return nn.functional.pixel_shuffle(layers[-1](x), 2)

    return module(**{f"conv{number}": layer for number, layer in enumerate(layers, 1)}), forward


def prelu(features: int) -> nn.PReLU:
    layer = nn.PReLU(features)
    nn.init.uniform_(layer.weight, 0.1, 0.5)
    return layer


def fsrcnn_in_three_parts() -> tuple[nn.Module, Forward]:
    first = nn.Sequential(conv(1, 8, 5), prelu(8))
    middle = [conv(8, 4, 1), prelu(4), conv(4, 4), prelu(4), conv(4, 4), prelu(4), conv(4, 8, 1), prelu(8)]
    mid = nn.Sequential(*middle)
    last = nn.ConvTranspose2d(8, 1, 9, stride=3, padding=4, output_padding=2)
    return module(first_part=first, mid_part=mid, last_part=last), lambda x: last(mid(first(x)))


def fsrcnn_in_five_parts() -> tuple[nn.Module, Forward]:
    parts = {
        "feature_extraction": nn.Sequential(conv(1, 8, 5), prelu(8)),
        "shrink": nn.Sequential(conv(8, 4, 1), prelu(4)),
        "map": nn.Sequential(conv(4, 4), prelu(4), conv(4, 4), prelu(4), conv(4, 4), prelu(4)),
        "expand": nn.Sequential(conv(4, 8, 1), prelu(8)),
        "deconv": nn.ConvTranspose2d(8, 1, 9, stride=3, padding=4, output_padding=2),
    }
    return module(**parts), nn.Sequential(*parts.values())


def srcnn(names: tuple[str, str, str]) -> tuple[nn.Module, Forward]:
    layers = [conv(1, 8, 9), conv(8, 6, 5), conv(6, 1, 5)]
    inner = [nn.Sequential(layer, nn.ReLU()) if "conv" not in names[0] else layer for layer in layers[:2]]
    parts = dict(zip(names, (*inner, layers[2]), strict=True))
    return module(**parts), lambda x: layers[2](layers[1](layers[0](bicubic(x, 3)).relu()).relu())


def vdsr(names: tuple[str, str, str]) -> tuple[nn.Module, Forward]:
    first, last = conv(1, 8, bias=False), conv(8, 1, bias=False)
    trunk = nn.Sequential(*(module(conv=conv(8, 8, bias=False)) for _ in range(3)))

    def forward(x: Tensor) -> Tensor:
        x = bicubic(x, 3)
        maps = first(x).relu()
        for layer in trunk:
            maps = layer.get_submodule("conv")(maps).relu()
        return x + last(maps)

    entry = first if names[0] == "input" else nn.Sequential(first, nn.ReLU())
    return module(**dict(zip(names, (entry, trunk, last), strict=True))), forward


def luminance_edsr() -> tuple[nn.Module, Forward]:
    head = nn.Sequential(conv(1, 8))
    blocks = [module(body=nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8))) for _ in range(2)]
    body = nn.Sequential(*blocks, conv(8, 8))
    tail = nn.Sequential(nn.Sequential(conv(8, 72), nn.PixelShuffle(3)), conv(8, 1))

    def forward(x: Tensor) -> Tensor:
        shallow = maps = head(x)
        for block in blocks:
            maps = maps + block.get_submodule("body")(maps)
        return tail(shallow + body[2](maps))

    return module(head=head, body=body, tail=tail), forward


class Multidistillation(nn.Module):
    """The block of KAIR's IMDN."""

    def __init__(self) -> None:
        super().__init__()
        for number, inputs in enumerate((16, 12, 12), 1):
            self.add_module(f"conv{number}", nn.Sequential(conv(inputs, 16), nn.LeakyReLU(0.05)))
        self.conv4 = conv(12, 4)
        self.conv1x1 = conv(16, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        rest, kept = x, []
        for number in (1, 2, 3):
            first, rest = self.get_submodule(f"conv{number}")(rest).split((4, 12), 1)
            kept.append(first)
        return x + self.conv1x1(torch.cat((*kept, self.conv4(rest)), 1))


def kair_imdn(channels: int) -> tuple[nn.Module, Forward]:
    trunk = nn.Sequential(*(Multidistillation() for _ in range(12)), conv(16, 16))
    head, last = conv(channels, 16), conv(16, 9 * channels)

    def forward(x: Tensor) -> Tensor:
        shallow = head(x)
        return nn.functional.pixel_shuffle(last(shallow + trunk(shallow)), 3)

    return module(model=nn.Sequential(head, module(sub=trunk), last)), forward


def normalized(inputs: int, outputs: int, *activation: nn.Module) -> nn.Sequential:
    norm = nn.BatchNorm2d(outputs)
    for tensor in (norm.running_var, norm.weight.data):
        nn.init.uniform_(tensor, 0.5, 2.0)
    for tensor in (norm.running_mean, norm.bias.data):
        nn.init.normal_(tensor)
    return nn.Sequential(conv(inputs, outputs), norm, *activation)


class NormalizedDenseBlock(nn.Module):
    """ESRGAN's dense block with ``norm_type="batch"``."""

    def __init__(self) -> None:
        super().__init__()
        for index in range(4):
            self.add_module(f"conv{index + 1}", normalized(8 + 4 * index, 4, nn.LeakyReLU(0.2)))
        self.conv5 = normalized(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        maps = x
        for number in range(1, 5):
            maps = torch.cat((maps, self.get_submodule(f"conv{number}")(maps)), 1)
        return x + 0.2 * self.conv5(maps)


def normalized_esrgan() -> tuple[nn.Module, Forward]:
    blocks = [module(**{f"RDB{number}": NormalizedDenseBlock() for number in (1, 2, 3)})]
    trunk = nn.Sequential(*blocks, *normalized(8, 8))
    up = nn.Upsample(scale_factor=3)
    outer = [up, conv(8, 8), nn.LeakyReLU(0.2), conv(8, 8), nn.LeakyReLU(0.2), conv(8, 3)]
    net = nn.Sequential(conv(3, 8), module(sub=trunk), *outer)

    def forward(x: Tensor) -> Tensor:
        shallow = maps = net[0](x)
        for block in blocks:
            inner = maps
            for number in (1, 2, 3):
                inner = block.get_submodule(f"RDB{number}")(inner)
            maps = maps + 0.2 * inner
        return nn.Sequential(*outer)(shallow + trunk[2](trunk[1](maps)))

    return module(model=net), forward


PUBLISHED: dict[str, tuple[str, Callable[[], tuple[nn.Module, Forward]]]] = {
    "ESPCN, yjn870": ("espcn", lambda: espcn(("first_part", "last_part"))),
    "ESPCN, Lornatang": ("espcn", lambda: espcn(("feature_maps", "sub_pixel"))),
    "ESPCN, pytorch/examples": ("espcn", espcn_of_pytorch),
    "FSRCNN, yjn870": ("fsrcnn", fsrcnn_in_three_parts),
    "FSRCNN, Lornatang": ("fsrcnn", fsrcnn_in_five_parts),
    "SRCNN, yjn870": ("srcnn", lambda: srcnn(("conv1", "conv2", "conv3"))),
    "SRCNN, Lornatang": ("srcnn", lambda: srcnn(("features", "map", "reconstruction"))),
    "VDSR, twtygqyy": ("vdsr", lambda: vdsr(("input", "residual_layer", "output"))),
    "VDSR, Lornatang": ("vdsr", lambda: vdsr(("conv1", "trunk", "conv2"))),
    "EDSR-PyTorch without mean shifts": ("edsr", luminance_edsr),
    "IMDN, KAIR": ("imdn", lambda: kair_imdn(3)),
    "IMDN, KAIR, luminance": ("imdn", lambda: kair_imdn(1)),
    "ESRGAN, batch normalization": ("rrdb", normalized_esrgan),
}


@pytest.mark.parametrize("spelling", PUBLISHED)
def test_published_spellings(spelling: str) -> None:
    name, published = PUBLISHED[spelling]
    net, forward = published()
    state = net.state_dict()
    scale = 2 if spelling == "ESPCN, pytorch/examples" else 3
    model = from_state(state, scale=scale)
    channels = model.info.channels
    assert model.info.architecture == name
    assert (channels == 3) == (spelling in ("IMDN, KAIR", "ESRGAN, batch normalization"))
    image = torch.rand(1, channels, 15, 18)
    with torch.no_grad():
        expected = forward(image)
        assert expected.shape == (1, channels, 15 * scale, 18 * scale)
        torch.testing.assert_close(model.net(image), expected, rtol=1e-4, atol=1e-5)
        again = build(model.info, model.net.state_dict())
        assert torch.equal(again.net(image), model.net(image))


def test_colour_edsr_without_its_mean_shifts_is_not_guessed_at() -> None:
    net, _ = luminance_edsr()
    state = net.state_dict()
    state["head.0.weight"] = state["head.0.weight"].expand(-1, 3, -1, -1)
    state["tail.1.weight"] = state["tail.1.weight"].expand(3, -1, -1, -1)
    state["tail.1.bias"] = state["tail.1.bias"].expand(3)
    with pytest.raises(CheckpointError, match="unknown architecture"):
        from_state(state)


def read(state: dict[str, Tensor]) -> None:
    """Ask every architecture what it reads in ``state``."""
    for architecture in architectures().values():
        if (dialect := architecture.dialect(state)) is not None:
            renamed = dialect.rename(state)
            for ask in (architecture.hidden, architecture.heads, architecture.stated_range):
                ask(renamed)
            numbers = architecture.hyperparameters(renamed, None).values()
            assert all(number <= 256 for number in numbers if isinstance(number, int))


@pytest.mark.parametrize("spelling", PUBLISHED)
def test_damage_is_told_by_errors_that_the_recogniser_expects(spelling: str) -> None:
    state = PUBLISHED[spelling][1]()[0].state_dict()
    for key in list(state)[::2]:
        without = {**state, "model": torch.ones(1), "model.x": torch.ones(1), "a.b.running_mean": torch.ones(1)}
        value = without.pop(key)
        changes = [without]
        changes += [{**without, key: shape} for shape in (torch.tensor(1.0), torch.zeros(0), torch.zeros(0, 0, 0, 0))]
        changes += [{**state, key.replace("0.", f"{number}."): value} for number in ("400000", "9" * 5000)]
        for changed in changes:
            with suppress(LookupError, ArithmeticError, CheckpointError):
                read(changed)
