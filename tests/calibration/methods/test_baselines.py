from pathlib import Path

import pytest
import torch
from torch import Tensor

import dfsq
from calibration import quantize, recipe
from calibration.selection import select
from calibration.selection.histogram import selection_error
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import quantized_layers
from dfsq.quantizers.normalization import bin_index
from dfsq.quantizers.universal import UniversalSet

UNIVERSAL = UniversalSet()
IMAGES = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(5))
BASELINES = ("minmax", "percentile", "mse", "mse-channel", "log2")


def histogram(values: Tensor) -> Tensor:
    index = bin_index(values, None, torch.ones(()), UNIVERSAL.bins)
    return torch.stack([torch.bincount(row, minlength=UNIVERSAL.bins) for row in index])


def points(selector: str, values: Tensor, bits: int) -> Tensor:
    return UNIVERSAL.values(select(selector, histogram(values), UNIVERSAL, bits, restarts=1, seed=0))


def test_minmax_spans_what_was_seen() -> None:
    found = points("minmax", torch.tensor([[-0.5, 0.0, 0.25], [0.0, 0.1, 1.0]]), 2)
    expected = torch.stack([torch.linspace(-0.5, 0.25, 4), torch.linspace(0, 1, 4)])
    torch.testing.assert_close(found, expected, atol=1 / 512, rtol=0)


def test_percentile_leaves_a_thousandth_outside_on_either_side() -> None:
    values = torch.linspace(-0.5, 0.5, 10_000)
    values[0], values[-1] = -1, 1
    found = points("percentile", values[None], 3)
    torch.testing.assert_close(found[0, [0, -1]], torch.tensor([-0.499, 0.499]), atol=1 / 512, rtol=0)


def test_mse_is_better_than_minmax_on_heavy_tails() -> None:
    values = torch.distributions.Laplace(0, 0.08).sample((3, 20_000)).clamp(-1, 1)
    counts = histogram(values)
    chosen = {
        selector: select(selector, counts, UNIVERSAL, 3, restarts=1, seed=0) for selector in ("minmax", "mse", "exact")
    }
    errors = {name: selection_error(counts, each, UNIVERSAL) for name, each in chosen.items()}
    assert (errors["mse"] < 0.5 * errors["minmax"]).all()
    assert (errors["exact"] < errors["mse"]).all()


def test_log2_takes_powers_of_two() -> None:
    found = points("log2", torch.tensor([[-1.0, 1.0], [0.0, 1.0]]), 3)
    assert found.tolist() == [
        [-1, -0.5, -0.25, 0, 0.125, 0.25, 0.5, 1],
        [0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1],
    ]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_quantize_save_and_load(small_model: SRModel, tmp_path: Path, name: str) -> None:
    model = quantize(small_model, [IMAGES], recipe(name))
    dfsq.save(model, tmp_path / "a.safetensors")
    with torch.inference_mode():
        assert torch.equal(dfsq.load(tmp_path / "a.safetensors")(2 * IMAGES), model(2 * IMAGES))


@pytest.mark.parametrize("name", ["minmax", "percentile", "mse"])
def test_a_fixed_range_is_that_of_calibration_whatever_the_input(small_model: SRModel, name: str) -> None:
    name_of_layer = small_model.body[1]
    seen: list[Tensor] = []
    layer = small_model.net.get_submodule(name_of_layer)
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    with torch.inference_mode():
        small_model(IMAGES)
    handle.remove()
    quantizer = dict(quantized_layers(quantize(small_model, [IMAGES], recipe(name)).net))[name_of_layer].input_quantizer
    assert quantizer is not None
    found = quantizer(100 * seen[0]).unique()
    assert len(found) <= 16
    assert float(found.max()) <= 1.01 * float(seen[0].max())
    if name == "minmax":
        step = float(seen[0].max()) / 15
        torch.testing.assert_close(found, step * torch.arange(16.0), atol=0.05 * step, rtol=0)


def test_what_goes_by_channels_needs_channels() -> None:
    with pytest.raises(UsageError, match="`feedback` means nothing to the method fixed-ranges, only to one-pass"):
        recipe("mse", feedback=True)
