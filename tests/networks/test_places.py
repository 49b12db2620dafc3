"""Named places: nothing changes while they are empty, and what they quantize where they are not."""

import pytest
import torch
from torch import Tensor, nn

from dfsq.networks import architectures
from dfsq.networks.edsr import EDSR, ResidualBlock
from dfsq.networks.rdn import RDN, ResidualDenseBlock
from dfsq.nn import BoundsQuantizer, places, quantized_places, replace

X = torch.rand(2, 3, 13, 11, generator=torch.Generator().manual_seed(6)) * 255


class Halved(BoundsQuantizer):
    """Something whose effect is seen in a sum."""

    def __init__(self) -> None:
        super().__init__(-1.0, 1.0, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def plain_edsr(net: EDSR, x: Tensor) -> Tensor:
    shallow = maps = net.head(net.sub_mean(x))
    for block in net.body[:-1]:
        maps = maps + block.body(maps) * block.residual_scale
    return net.add_mean(net.tail(shallow + net.body[-1](maps)))


def plain_rdn(net: RDN, x: Tensor) -> Tensor:
    shallow = net.SFENet1(x)
    maps, outputs = net.SFENet2(shallow), []
    for block in net.RDBs:
        dense = maps
        for layer in block.convs:
            dense = torch.cat((dense, layer.conv(dense)), 1)
        maps = maps + block.LFF(dense)
        outputs.append(maps)
    return net.UPNet(shallow + net.GFF(torch.cat(outputs, 1)))


NETWORKS = [
    (EDSR(scale=2, blocks=2, features=8, residual_scale=0.1), plain_edsr),
    (RDN(scale=2, blocks=2, convs=3, features=8, growth=4), plain_rdn),
]


@pytest.mark.parametrize(("net", "plain"), NETWORKS, ids=["edsr", "rdn"])
def test_empty_places_change_no_bit_and_no_key(net: nn.Module, plain: object) -> None:
    with torch.no_grad():
        assert torch.equal(net(X), plain(net, X))  # type: ignore[operator]
    owners = {key.rpartition(".")[0] for key in net.state_dict()}
    assert owners == {name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    assert not owners & {name for name, _ in places(net)}


def test_a_block_of_edsr() -> None:
    block = ResidualBlock(8, 0.5)
    x = torch.randn(1, 8, 6, 6)
    body = block.body(x)
    replace(block, "skip", Halved())
    torch.testing.assert_close(block(x), x / 2 + body / 2)  # the first convolution reads x itself
    replace(block, "output", Halved())
    torch.testing.assert_close(block(x), x / 2 + body / 4)
    assert [name for name, _ in quantized_places(block)] == ["skip", "output"]
    assert not list(places(block))


def test_a_block_of_rdn() -> None:
    block = ResidualDenseBlock(8, 4, 2)
    for name, _ in list(places(block)):
        replace(block, name, Halved())
    x = torch.randn(1, 8, 6, 6)
    shortcut = x / 2
    first = torch.cat((shortcut, block.convs[0].conv(shortcut)), 1) / 2
    second = torch.cat((first, block.convs[1].conv(first)), 1) / 2
    torch.testing.assert_close(block(x), shortcut + block.LFF(second))


def test_only_networks_that_the_method_places_differently_have_any() -> None:
    with torch.device("meta"):
        net = architectures()["srresnet"].build(scale=2, blocks=2, features=8, bias=True)
    assert not list(places(net))
