"""The operands of attention's matrix products, quantized at named places of a small transformer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

import dfsq
from calibration import quantize, recipe
from calibration.methods.trained import Trained
from calibration.progress import silent
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.networks import from_state
from dfsq.networks.multiply_adds import of_model
from dfsq.networks.swinir import SwinIR
from dfsq.nn import SubsetQuantizer, operands, quantized_places

X = torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(4))
HEADS, WINDOW, FEATURES, HIDDEN = 2, 4, 8, 12
ATTENTION = tuple(f"layers.0.residual_group.blocks.{block}.attn" for block in range(2))
NAMES = {f"{attention}.{part}" for attention in ATTENTION for part in ("query", "key", "value", "probabilities")}
RECIPES = ("fast", "accurate", "paper", "minmax", "percentile", "mse", "mse-channel", "log2")


@pytest.fixture(scope="module")
def transformer() -> SRModel:
    torch.manual_seed(0)
    net = SwinIR(2, FEATURES, [2], [HEADS], WINDOW, HIDDEN, "pixelshuffledirect")
    for parameter in net.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0, 0.2)
    return from_state(net.state_dict())


def seen_at(model: SRModel, names: set[str]) -> Mapping[str, tuple[Tensor, Tensor]]:
    """What goes into the modules called ``names`` and comes out."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [
        model.net.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: found.update({name: (inputs[0], output)})
        )
        for name in names
    ]
    with torch.inference_mode():
        model(X)
    for handle in handles:
        handle.remove()
    return found


def rows(x: Tensor, name: str) -> Tensor:
    """Values of every window and channel, or head: ``(windows · channels, n)``."""
    return x.flatten(2).flatten(0, 1) if name.endswith("probabilities") else x.transpose(1, 2).flatten(0, 1)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_rounds_all_four_operands(transformer: SRModel, name: str) -> None:
    model = quantize(transformer, [X], recipe(name, w_bits=3, a_bits=3))
    assert {each for each, _ in quantized_places(model.net)} == NAMES
    assert not list(operands(model.net))
    for place, (x, rounded) in seen_at(model, NAMES).items():
        values = rows(rounded, place)
        assert max(len(each.unique()) for each in values) <= 8
        assert len(values.unique()) > 2
        if place.endswith("probabilities"):
            assert values.min() >= 0
        error, power = (rounded - x).square().mean(), (x - x.mean()).square().mean()
        assert error < power, place


def test_probabilities_are_points_of_the_largest_of_their_window_and_head(transformer: SRModel) -> None:
    model = quantize(transformer, [X], recipe("fast", headroom=None))
    quantizer = model.net.get_submodule(f"{ATTENTION[0]}.probabilities")
    assert isinstance(quantizer, SubsetQuantizer)
    assert not quantizer.signed and len(quantizer.points) == HEADS
    x, rounded = seen_at(model, NAMES)[f"{ATTENTION[0]}.probabilities"]
    for window, head in ((0, 0), (7, 1), (len(x) - 1, 1)):
        points = quantizer.points[head].double() / 1024
        values = x[window, head].double().flatten()
        nearest = (values[:, None] / values.max() - points).abs().argmin(1)
        expected = points[nearest] * values.max()
        torch.testing.assert_close(rounded[window, head].double().flatten(), expected, rtol=1e-5, atol=1e-7)


def test_scope_body_leaves_them_and_patterns_choose(transformer: SRModel) -> None:
    assert not list(quantized_places(quantize(transformer, [X], recipe("fast", scope="body")).net))
    chosen = recipe("accurate", skip=("*.probabilities",), layer_bits=(("*.query", 6),))
    found = {name: each.bits for name, each in quantized_places(quantize(transformer, [X], chosen).net)}
    assert found == {name: 6 if name.endswith("query") else 4 for name in NAMES if not name.endswith("probabilities")}
    with pytest.raises(UsageError, match=r"pattern '\*\.queries' matches no layer"):
        quantize(transformer, [X], recipe("fast", skip=("*.queries",)))


def test_more_bits_bring_the_picture_closer(transformer: SRModel) -> None:
    with torch.inference_mode():
        full = transformer(X)
        for name in ("fast", "accurate"):
            errors = []
            for bits in (2, 4, 8):
                chosen = recipe(name, w_bits=8, a_bits=8, layer_bits=tuple((each, bits) for each in sorted(NAMES)))
                errors.append((quantize(transformer, [X], chosen)(X) - full).square().mean())
            assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("name", ["fast", "accurate", "minmax"])
def test_reloaded_outputs_are_equal_to_the_bit(transformer: SRModel, tmp_path: Path, name: str) -> None:
    model = quantize(transformer, [X], recipe(name))
    dfsq.save(model, tmp_path / "a.safetensors")
    reloaded = dfsq.load(tmp_path / "a.safetensors")
    with torch.inference_mode():
        assert torch.equal(reloaded(X), model(X))


def test_bit_operations_counted_by_hand(transformer: SRModel) -> None:
    model = quantize(transformer, [X], recipe("fast", w_bits=4, a_bits=2, outside_bits=None))
    pixels, tokens, f = 64 * 64, WINDOW**2, FEATURES
    products = 2 * 2 * pixels * tokens * f
    layers = 2 * pixels * (3 * f * f + f * f + 2 * f * HIDDEN) + 2 * pixels * 9 * f * f
    outside = pixels * (9 * 3 * f + 9 * f * 12)
    total = products + layers + outside
    found = of_model(model)
    assert found.inside == pytest.approx((products + layers) / total)
    assert found.bit_operations == pytest.approx((products * 4 + layers * 8 + outside * 1024) / (total * 1024))
    assert sum(found.layers[name] for name in ATTENTION) == pytest.approx(products / total)


def test_gradients_pass_the_operands_while_training(transformer: SRModel) -> None:
    method = recipe("trained", w_bits=3, a_bits=3)
    assert isinstance(method, Trained)
    start = method.start(transformer, [X], lambda model: 0.0, silent)
    network = method.trainable(transformer, start, [X], torch.float32)
    with torch.no_grad():
        # A value in the last block that goes to the other side of a midpoint changes what is behind it.
        close = torch.isclose(network.module(X), start.model(X), rtol=1e-4, atol=1e-4).flatten(1).float().mean(1)
        assert close.max() > 0.99 and close.mean() > 0.7
    with torch.enable_grad():
        network.loss(0, X, None).backward()
    for name in ATTENTION:
        gradient = network.module.net.get_submodule(f"{name}.qkv").weight.normalized.latent.grad
        assert all(part.abs().max() > 0 for part in gradient.chunk(3))  # of queries, keys and values
    assert {each for each, _ in quantized_places(network.frozen().net)} == NAMES


def test_training_leaves_them_alone_in_scope_body(transformer: SRModel) -> None:
    method = recipe("trained", scope="body")
    assert isinstance(method, Trained)
    start = method.start(transformer, [X], lambda model: 0.0, silent)
    assert not list(quantized_places(method.trainable(transformer, start, [X], torch.float32).frozen().net))
