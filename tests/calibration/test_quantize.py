from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from calibration import OnePass, PatchStream, Sequential, quantize, recipe
from calibration.observer import HistogramObserver
from calibration.planning import plan_layers
from dfsq import load, save
from dfsq.errors import ImageError, UsageError
from dfsq.images.files import write_png
from dfsq.model import SRModel
from dfsq.nn import Operand, Place, SubsetQuantizer, quantized_layers
from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import UniformWeight


def batches(count: int = 2, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 3, 24, 24, generator=generator) for _ in range(count)]


def sqnr(model: SRModel, quantized: SRModel) -> float:
    """Signal to quantization noise of the output, in dB."""
    x = batches(seed=9)[0]
    with torch.inference_mode():
        reference, result = model(x), quantized(x)
    return float(10 * torch.log10(reference.square().mean() / (result - reference).square().mean()))


@pytest.mark.parametrize("weights", ["minmax", "mse", "subset"])
@pytest.mark.parametrize("selector", ["exact", "kmeans"])
def test_more_bits_come_closer_to_full_precision(small_model: SRModel, weights: str, selector: str) -> None:
    changes = {"restarts": 1} if selector == "kmeans" else {}
    chosen = recipe("fast", weights=weights, selector=selector, outside_bits=None, **changes)
    ratios = [
        sqnr(small_model, quantize(small_model, batches(), chosen.changed(w_bits=bits, a_bits=bits)))
        for bits in (2, 4, 6)
    ]
    assert ratios[0] + 6 < ratios[1] < ratios[2] - 6
    assert ratios[2] > 35


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_eight_bits_are_evenly_spaced_unless_asked_otherwise(small_model: SRModel, name: str, tmp_path: Path) -> None:
    eight = recipe(name, w_bits=8, a_bits=8)
    evenly, selected = (quantize(small_model, batches(), each) for each in (eight, eight.changed(universal="additive")))
    for _, layer in quantized_layers(evenly.net):
        assert layer.quantized_weight.kind == UniformWeight.kind
        if isinstance(layer.input_quantizer, SubsetQuantizer):
            steps = layer.input_quantizer.points.diff()
            assert (steps == steps[:, :1]).all() and (steps > 0).all()
            assert layer.input_quantizer.to_tensors()["points"].shape == (layer.weight.shape[1], 2)
    assert sqnr(small_model, evenly) > sqnr(small_model, selected) + 3
    assert save(evenly, tmp_path / "even.safetensors") < 0.95 * save(selected, tmp_path / "selected.safetensors")
    loaded, x = load(tmp_path / "even.safetensors"), batches(seed=9)[0]
    with torch.inference_mode():
        assert torch.equal(loaded(x), evenly(x))


def test_layers_with_eight_bits_among_others_are_evenly_spaced(small_model: SRModel) -> None:
    mixed = quantize(small_model, batches(), recipe("fast", layer_bits=(("body.0.*", 8),)))
    kinds = {
        name: layer.quantized_weight.kind for name, layer in quantized_layers(mixed.net) if name in small_model.body
    }
    assert {kind for name, kind in kinds.items() if name.startswith("body.0.")} == {"uniform"}
    assert {kind for name, kind in kinds.items() if not name.startswith("body.0.")} == {"subset"}


def test_quantize_leaves_the_given_model_alone(small_model: SRModel) -> None:
    before = {key: value.clone() for key, value in small_model.state_dict().items()}
    quantize(small_model, batches())
    assert small_model.quantization is None
    assert not list(quantized_layers(small_model.net))
    assert all(torch.equal(before[key], value) for key, value in small_model.state_dict().items())


def test_weights_take_at_most_two_to_the_bits_values_per_channel(small_model: SRModel) -> None:
    quantized = quantize(small_model, batches(), OnePass(w_bits=3, a_bits=2))
    for name in small_model.body:
        layer = quantized.net.get_submodule(name)
        assert all(len(channel.unique()) <= 8 for channel in layer.weight)  # type: ignore[union-attr]


def test_inputs_take_at_most_two_to_the_bits_values_per_channel(small_model: SRModel) -> None:
    quantized = quantize(small_model, batches(), OnePass(a_bits=3))
    seen: list[torch.Tensor] = []
    layer = quantized.net.get_submodule(small_model.body[1]).input_quantizer
    layer.register_forward_hook(lambda *arguments: seen.append(arguments[-1]))  # type: ignore[union-attr, operator]
    quantized(batches()[0])
    assert all(len(channel.unique()) <= 8 for sample in seen[0] for channel in sample)


def test_inputs_after_a_relu_are_known_to_be_non_negative(small_model: SRModel) -> None:
    quantized = quantize(small_model, batches())
    signed = {
        name: layer.input_quantizer.signed for name, layer in quantized_layers(quantized.net) if layer.input_quantizer
    }
    assert signed == {name: name.endswith("body.0") for name in small_model.body}


@pytest.mark.parametrize("block", [None, 8])
def test_histograms_do_not_depend_on_batches_or_their_order(block: int | None) -> None:
    x = torch.randn(6, 4, 10, 10, generator=torch.Generator().manual_seed(0))
    x[:3] = x[:3].relu()  # non-negative until the fourth sample
    results = []
    for parts in ([x], list(x.split(1)), [x[4:], x[:4]]):
        observer = HistogramObserver(UniversalSet(), 1, block)
        for part in parts:
            observer.observe(part)
        results.append(observer.histogram())
        assert observer.signed
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    if block is None:
        assert results[0].sum(1).tolist() == [600] * 4


def test_histogram_of_a_worked_example() -> None:
    # Mean 0 and spread 2 give -1, 0, 1/2 and 1/2: bins 0, 2048 and twice 3072.
    observer = HistogramObserver(UniversalSet(), 1)
    observer.observe(torch.tensor([-2.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2))
    histogram = observer.histogram()[0]
    assert {int(b): int(histogram[b]) for b in histogram.nonzero()[:, 0]} == {0: 1, 2048: 1, 3072: 2}


def test_blocks_count_by_the_square_of_their_spread() -> None:
    # Two blocks, of spread 2 and 1/2: a quarter of the larger, 4/16, so 256 and 16 a value.
    x = torch.zeros(1, 1, 8, 16)
    x[0, 0, 0, 0], x[0, 0, 0, 8] = 2.0, 0.5
    observer = HistogramObserver(UniversalSet(), 1, 8)
    observer.observe(x)
    histogram = observer.histogram()[0]
    found = {int(each): int(histogram[each]) for each in histogram.nonzero()[:, 0]}
    assert found == {2048: 63 * (256 + 16), 4095: 256 + 16}
    assert observer.spread().tolist() == [2.0]


def test_blocks_are_for_maps_alone() -> None:
    recipe = Sequential(block=8)
    layers: list[tuple[nn.Module, int | None]] = [(nn.Conv2d(4, 4, 3), 8), (nn.Linear(4, 4), None), (Place(4), 8)]
    for layer, expected in [*layers, (Operand(4), None)]:
        observer = recipe.observer(layer)
        observer.observe(torch.randn(2, 4, 4, 4))
        quantizer = recipe.input_quantizer(layer, observer, 4, None)
        assert quantizer.block == expected


def test_linear_layers_are_quantized_along_their_last_axis() -> None:
    from dfsq.model import NetworkInfo

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.mix = nn.Linear(8, 8)
            self.last = nn.Conv2d(8, 12, 3, padding=1)
            self.shuffle = nn.PixelShuffle(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.mix(self.first(x).permute(0, 2, 3, 1))
            result: torch.Tensor = self.shuffle(self.last(tokens.permute(0, 3, 1, 2)))
            return result

    from dfsq.networks.scope import body_scope

    net = Tokens()
    model = SRModel(net, NetworkInfo("tokens", {}, 2, 1.0), body_scope(net, None))
    assert model.body == ("mix",)
    quantized = quantize(model, batches(), OnePass(w_bits=8, a_bits=8))
    assert quantized.net.get_submodule("mix").input_quantizer.points.shape == (8, 256)  # type: ignore[union-attr]
    ratios = [sqnr(model, quantize(model, batches(), OnePass(w_bits=bits, a_bits=bits))) for bits in (2, 4, 8)]
    assert ratios[0] + 6 < ratios[1] < ratios[2] - 6


def test_activations_saturate_beyond_the_headroom(small_model: SRModel) -> None:
    name = "body.0.body.2"  # after a ReLU
    seen: list[torch.Tensor] = []
    handle = small_model.net.get_submodule(name).register_forward_hook(lambda *arguments: seen.append(arguments[1][0]))
    small_model(batches()[0])
    handle.remove()
    most = seen[0].amax((0, 2, 3))
    x = torch.full((1, 8, 4, 4), 1e6)
    for headroom, expected in ((2.0, 2 * most), (None, torch.full((8,), 1e6))):
        quantizer = (
            quantize(small_model, batches(1), OnePass(a_bits=8, headroom=headroom))
            .net.get_submodule(name)
            .input_quantizer
        )
        result = quantizer(x).amax((0, 2, 3))  # type: ignore[operator]
        torch.testing.assert_close(result[most > 0], expected[most > 0], rtol=0.01, atol=0)


def test_skip_and_layer_bits(small_model: SRModel) -> None:
    plan = plan_layers(
        small_model, OnePass(skip=("body.0.*",), layer_bits=(("body.1.body.?", 6), ("tail.*", 8)), outside_bits=None)
    )
    bits = {name: (each.w_bits, each.a_bits) for name, each in plan.items()}
    assert bits == {"body.1.body.0": (6, 6), "body.1.body.2": (6, 6), "tail.0.0": (8, 8), "tail.1": (8, 8)}


def test_a_pattern_without_a_match_is_an_error(small_model: SRModel) -> None:
    with pytest.raises(UsageError, match=r"'bdy\.\*' matches no layer; layers are named like"):
        plan_layers(small_model, OnePass(skip=("bdy.*",)))


def test_a_quantized_model_is_not_quantized_again(small_model: SRModel) -> None:
    with pytest.raises(UsageError, match="quantized already"):
        quantize(quantize(small_model, batches()), batches())


def test_paper_recipe_is_the_published_method() -> None:
    paper = recipe("paper")
    assert (paper.selector, paper.restarts, paper.weights, paper.words) == ("kmeans", 5, "minmax", 4)
    assert (paper.patch_size, paper.outside_bits, paper.headroom, paper.columns) == (192, None, None, False)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"w_bits": 9}, "w_bits is 9; choose 2 to 8"),
        ({"selector": "best"}, "known: exact, kmeans, exhaustive"),
        ({"weights": "log"}, "known: minmax, mse, subset, symmetric"),
        ({"words": 2, "a_bits": 5}, "29"),
        ({"patches": 0}, "patches is 0; choose 1 to"),
        ({"headroom": 0.5}, "headroom is 0.5; choose 1 to"),
    ],
)
def test_recipe_refuses_what_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe("fast", **changes)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for index in range(3):
        write_png(tmp_path / f"{index}.png", generator.integers(0, 256, (70, 80, 3), dtype=np.uint8))
    return tmp_path


def test_patches_are_reproducible_and_differ_by_seed(photographs: Path) -> None:
    def stream(seed: int) -> PatchStream:
        return PatchStream([photographs], scale=2, patches=10, patch_size=32, seed=seed)

    streams = [stream(0), stream(0), stream(1)]
    patches = [torch.cat(list(each)) for each in streams]
    assert patches[0].shape == (10, 3, 16, 16)
    assert torch.equal(patches[0], patches[1])
    assert streams[0].fingerprint == streams[1].fingerprint != streams[2].fingerprint
    assert not torch.equal(patches[0], patches[2])


def test_unusable_images_are_reported_and_passed_over(photographs: Path) -> None:
    (photographs / "broken.png").write_bytes(b"not an image")
    write_png(photographs / "tiny.png", np.zeros((8, 8, 3), np.uint8))
    skipped: list[str] = []
    stream = PatchStream([photographs], scale=2, patches=10, patch_size=32, on_skip=skipped.append)
    assert len(torch.cat(list(stream))) == 10
    assert len(skipped) == 2
    assert any("broken.png" in line for line in skipped)
    assert any("tiny.png is 8×8, smaller than a 32×32 patch" in line for line in skipped)


def test_no_usable_image_is_an_error_with_the_remedy(photographs: Path) -> None:
    with pytest.raises(ImageError, match="smaller `patch_size`"):
        list(PatchStream([photographs], scale=2, patch_size=200))


def test_lr_images_are_taken_as_they_are(photographs: Path) -> None:
    from dfsq.images.files import read_image

    patch = next(iter(PatchStream([photographs / "0.png"], scale=2, patch_size=32, patches=1, is_lr=True)))[0]
    image = torch.tensor(read_image(photographs / "0.png")).permute(2, 0, 1).float() / 255
    windows = image.unfold(1, 16, 1).unfold(2, 16, 1)
    assert bool((windows == patch[:, None, None]).all(-1).all(-1).all(0).any())
