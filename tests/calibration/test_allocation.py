from itertools import product

import pytest
import torch

from calibration import OnePass, Sequential, quantize
from calibration.allocation import Choice, allocate
from calibration.allocation import choices as predicted
from calibration.layers import LayerBits
from calibration.planning import plan_layers
from calibration.progress import silent
from calibration.sensitivity import measure
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.networks import from_state
from dfsq.networks.edsr import EDSR
from dfsq.nn import quantized_layers

IMAGES = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(5))


def choices() -> dict[str, Choice]:
    generator = torch.Generator().manual_seed(2)
    sensitivities = (10 ** (3 * torch.rand(5, generator=generator))).tolist()
    sizes = [3, 10, 4, 7, 5]
    return {
        f"layer {index}": Choice(size, {bits: sensitivity * 4.0**-bits for bits in range(2, 7)})
        for index, (size, sensitivity) in enumerate(zip(sizes, sensitivities, strict=True))
    }


@pytest.mark.parametrize("average", [2.0, 3.0, 4.0, 4.5, 6.0])
def test_is_the_best_of_all_allocations_within_the_budget(average: float) -> None:
    layers = choices()
    budget = average * sum(each.size for each in layers.values())

    def cost(bits: tuple[int, ...]) -> int:
        return sum(each.size * own for each, own in zip(layers.values(), bits, strict=True))

    def error(bits: tuple[int, ...]) -> float:
        return sum(each.errors[own] for each, own in zip(layers.values(), bits, strict=True))

    best = min((bits for bits in product(range(2, 7), repeat=5) if cost(bits) <= budget), key=error)
    found = tuple(allocate(layers, average).values())
    assert cost(found) <= budget
    assert error(found) == pytest.approx(error(best), rel=1e-5)


def test_layers_of_one_size_meet_the_average_exactly() -> None:
    layers = {name: Choice(64, each.errors) for name, each in choices().items()}
    assert sum(allocate(layers, 4.0).values()) == 20


def test_an_average_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="average of 1.5 bits; the fewest are 2"):
        allocate(choices(), 1.5)


def test_no_layer_gets_more_than_the_same_average_and_named_layers_keep_theirs(small_model: SRModel) -> None:
    recipe = OnePass(avg_bits=4.0, layer_bits=(("body.0.body.0", 7),))
    layers = dict(quantized_layers(quantize(small_model, [IMAGES], recipe).net))
    named = layers.pop("body.0.body.0")
    assert (named.quantized_weight.bits, named.input_quantizer.bits) == (7, 7)  # type: ignore[union-attr]
    body = [layer for name, layer in layers.items() if name in small_model.body]
    assert sum(layer.quantized_weight.bits for layer in body) == 4 * len(body)
    assert sum(layer.input_quantizer.bits for layer in body) == 4 * len(body)  # type: ignore[union-attr]


def test_bits_go_where_the_network_is_sensitive(small_model: SRModel) -> None:
    deaf, keen = small_model.body[1], small_model.body[3]
    with torch.no_grad():
        small_model.net.get_submodule(deaf).weight.mul_(1e-3)  # type: ignore[union-attr, operator]
        small_model.net.get_submodule(keen).weight.mul_(4)  # type: ignore[union-attr, operator]
    layers = dict(quantized_layers(quantize(small_model, [IMAGES], OnePass(avg_bits=4.0)).net))
    assert layers[deaf].input_quantizer.bits < 4 < layers[keen].input_quantizer.bits  # type: ignore[union-attr]


def test_a_layer_whose_columns_differ_is_expected_to_gain_by_their_scales() -> None:
    torch.manual_seed(0)
    model = from_state(EDSR(2, 2, 16, 1.0).state_dict())
    even, uneven = model.body[:2]
    with torch.no_grad():
        weight = model.net.get_submodule(uneven).weight
        sizes = 2.0 ** -torch.arange(weight[0].numel()).remainder(9)  # type: ignore[index, operator]
        weight.mul_(sizes.reshape(weight.shape[1:]))  # type: ignore[union-attr, operator, index]
    known = measure(model, [even, uneven], [IMAGES], 0, silent)
    plain, scaled = (
        predicted(model, [even, uneven], [IMAGES], known, Sequential(columns=columns), [2]) for columns in (False, True)
    )
    assert scaled[uneven].weights.errors[2] < 0.7 * plain[uneven].weights.errors[2]
    assert scaled[even].weights.errors[2] > 0.8 * plain[even].weights.errors[2]


def test_scope_all_quantizes_what_every_convolution_is_given(small_model: SRModel) -> None:
    layers = dict(quantized_layers(quantize(small_model, [IMAGES], OnePass(scope="all")).net))
    convolutions = {
        name
        for name, layer in small_model.net.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and not name.endswith("_mean")
    }
    assert set(layers) == convolutions
    for name, layer in layers.items():
        assert layer.input_quantizer is not None
        assert layer.input_quantizer.bits == layer.quantized_weight.bits == (4 if name in small_model.body else 8)


def test_scope_all_without_bits_for_the_outside_takes_those_of_the_body(small_model: SRModel) -> None:
    plan = plan_layers(small_model, OnePass(scope="all", outside_bits=None, w_bits=5, a_bits=6))
    assert set(plan.values()) == {LayerBits(5, 6)}
    assert plan.keys() > set(small_model.body)
