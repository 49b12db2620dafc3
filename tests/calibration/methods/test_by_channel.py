"""Activations in units of every sample's channels: where errors are passed on."""

import pytest
import torch

from calibration import quantize, recipe
from dfsq import networks
from dfsq.networks.imdn import IMDN
from dfsq.nn import SubsetQuantizer, quantized_layers

X = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(4))
WIDE = {"IMDB1.c5", "c.0"}
"""1×1 convolutions: 16 and 96 inputs, 120 and 4560 shares of some three bits, beside 256 and 1536 weights."""


@pytest.mark.parametrize("name", ["accurate", "fast"])
@pytest.mark.parametrize(("bits", "without"), [(2, set()), (4, set()), (6, {"c.0"}), (8, {"c.0"})])
def test_from_six_bits_up_shares_are_left_out_where_they_would_take_much_room(
    name: str, bits: int, without: set[str]
) -> None:
    model = networks.from_state(IMDN(scale=2, blocks=6, features=16, distilled=4, squeezed=4).state_dict())
    found = dict(quantized_layers(quantize(model, [X], recipe(name, w_bits=bits, a_bits=bits, feedback=True)).net))
    inputs = {key: each.input_quantizer for key, each in found.items() if each.input_quantizer is not None}
    assert inputs.keys() >= WIDE
    assert all(isinstance(each, SubsetQuantizer) for each in inputs.values())
    assert {key for key, each in inputs.items() if each.feedback is None} == without
