"""Which quantizers become dynamic."""

import pytest
import torch

from calibration.ddtb import dynamic, intensities
from calibration.ddtb.intensity import Extremes
from dfsq.model import SRModel


def test_variance_of_the_extremes_by_hand() -> None:
    extremes = Extremes()
    # Maxima 1, 3, 5: variance 8/3. Minima −2, 0, −4: variance 8/3.
    extremes.observe(torch.tensor([[[[1.0, -2.0]]], [[[3.0, 0.0]]]]))
    extremes.observe(torch.tensor([[[[5.0, -4.0]]]]))
    assert extremes.intensity() == pytest.approx(16 / 3)


def test_batches_do_not_matter_and_nothing_seen_is_refused() -> None:
    x = torch.randn(8, 3, 4, 4)
    whole, parts = Extremes(), Extremes()
    whole.observe(x)
    for part in x.split(3):
        parts.observe(part)
    assert whole.intensity() == parts.intensity()
    with pytest.raises(RuntimeError, match="no sample"):
        Extremes().intensity()


def test_the_highest_share_rounded_down() -> None:
    found = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 5.0, "e": 0.0}
    assert dynamic(found, 0.5) == ("b", "d")
    assert dynamic(found, 0.6) == ("b", "d", "c")
    assert dynamic(found, 0.0) == ()
    assert len(dynamic(found, 1.0)) == 5
    assert len(dynamic({str(index): 0.0 for index in range(100)}, 0.29)) == 29


def test_places_and_layers_of_a_network(small_model: SRModel) -> None:
    images = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(8))
    found = intensities(small_model, ("body.0.skip", "body.0.body.2"), [images[:2], images[2:]])
    net = small_model.net
    with torch.no_grad():
        head = net.head(net.sub_mean(images * 255))
        inner = net.body[0].body[1](net.body[0].body[0](head))
    for name, value in (("body.0.skip", head), ("body.0.body.2", inner)):
        rows = value.flatten(1).double()
        expected = rows.amax(1).var(correction=0) + rows.amin(1).var(correction=0)
        assert found[name] == pytest.approx(expected.item(), rel=1e-5)
