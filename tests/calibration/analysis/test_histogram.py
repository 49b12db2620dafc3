"""Where inputs lie and levels are, against what is counted by hand."""

import pytest
import torch
from torch import nn

from calibration.analysis.histogram import histogram
from calibration.weights import quantize_weight
from dfsq.errors import UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.nn import AffineQuantizer, InputQuantizer, QuantizedLayer, SubsetQuantizer, counterpart
from dfsq.quantizers.universal import UniversalSet


def model() -> SRModel:
    net = nn.Sequential(nn.Conv2d(3, 3, 1))
    return SRModel(net, NetworkInfo("own", {}, 1, 1.0), ("0",))


def quantized(full: SRModel, inputs: InputQuantizer | None) -> QuantizedLayer:
    weight = quantize_weight(full.net[0].weight.detach(), "minmax", 4, UniversalSet())
    return counterpart(full.net[0], weight, inputs)


def test_values_and_levels_are_counted_where_they_lie() -> None:
    full = model()
    layer = counterpart(
        full.net[0],
        quantize_weight(full.net[0].weight.detach(), "minmax", 4, UniversalSet()),
        AffineQuantizer(0.25, 0, 2),
    )
    image = torch.tensor([0.0, 0.1, 0.3, 0.74]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    found = histogram(full, layer, "0", [image, image], bins=3)
    assert found.edges == pytest.approx((0, 0.25, 0.5, 0.75))
    assert found.counts == (12, 6, 6)
    assert found.points == (0, 0.25, 0.5, 0.75)
    assert found.levels == (1, 1, 2)  # the largest belongs to the last bin
    assert found.units == "of the input"


def test_channels_with_points_of_their_own_count_on_average() -> None:
    full, universal = model(), UniversalSet()
    # In 1/1024 of the spread; all inputs are at its ends.
    points = torch.tensor([[-1024, -512, 512, 1024], [-1024, -64, 64, 1024], [-1024, -64, 64, 1024]], dtype=torch.int32)
    layer = quantized(full, SubsetQuantizer(points, True, 2, universal, 1))
    image = torch.tensor([-0.2, -0.2, 0.2, 0.2]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    found = histogram(full, layer, "0", [image], bins=4)
    assert found.edges == pytest.approx((-1, -0.5, 0, 0.5, 1))
    assert found.counts == (6, 0, 0, 6)
    assert found.points == (-1, -0.5, -0.0625, 0.0625, 0.5, 1)
    assert found.levels == pytest.approx((1, 1, 2 / 3, 4 / 3))  # a level on an edge belongs to what is above
    assert found.units == "of each channel's spread"


def test_what_has_no_levels_is_told() -> None:
    full = model()
    layer = quantized(full, None)
    with pytest.raises(UsageError, match="the input of 0 stays in full precision"):
        histogram(full, layer, "0", [torch.zeros(1, 3, 4, 4)])
