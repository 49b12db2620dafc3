"""Where the published method quantizes, by its own counts."""

from typing import Any

import pytest

from calibration.ddtb import Placement, dynamic, published
from dfsq import networks
from dfsq.networks import architectures


def placement(name: str, **configuration: Any) -> Placement:
    net = architectures()[name].build(**configuration)
    return published(networks.from_state(net.state_dict()))


PUBLISHED = [
    ("edsr", {"scale": 2, "blocks": 16, "features": 8, "residual_scale": 1.0}, 0.3, 48, 14, 32),
    ("srresnet", {"scale": 2, "blocks": 16, "features": 8, "bias": True}, 0.1, 32, 3, 32),
    ("rdn", {"scale": 2, "blocks": 16, "convs": 8, "features": 8, "growth": 8}, 0.5, 145, 72, 146),
]


@pytest.mark.parametrize(("name", "configuration", "ratio", "quantizers", "gates", "weights"), PUBLISHED)
def test_counts(
    name: str, configuration: dict[str, Any], ratio: float, quantizers: int, gates: int, weights: int
) -> None:
    found = placement(name, **configuration)
    assert len(found.quantizers) == len(set(found.quantizers)) == quantizers
    assert len(dynamic(dict.fromkeys(found.quantizers, 0.0), ratio)) == gates
    assert len(found.weights) == weights


def test_names() -> None:
    found = placement("edsr", scale=2, blocks=1, features=8, residual_scale=1.0)
    assert found == Placement(("body.0.skip", "body.0.output"), ("body.0.body.2",), ("body.0.body.0", "body.0.body.2"))
    found = placement("rdn", scale=2, blocks=1, convs=2, features=8, growth=8)
    assert found.places == ("RDBs.0.input", "RDBs.0.convs.0.output", "RDBs.0.convs.1.output", "outputs")
    assert found.inputs == ()
    assert found.weights[-3:] == ("RDBs.0.LFF", "GFF.0", "GFF.1")


def test_others_at_every_input_of_the_body() -> None:
    found = placement("msrresnet", scale=2, blocks=2, features=8)
    assert found.places == ()
    assert found.inputs == found.weights != ()
