"""What calibration finds does not depend on how its images are cut into batches, nor on their order."""

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import dfsq
from calibration import Integers, OnePass, PatchStream, Sequential, quantize, recipe
from calibration.layers import LayerBits
from calibration.methods.planned import Planned
from calibration.methods.trained_network import FixedStart
from calibration.observer import HistogramObserver, TensorObserver
from calibration.observing import observe
from calibration.outputs import with_outputs
from calibration.sequential import quantize_layers
from dfsq.model import SRModel
from dfsq.nn import quantized_layers
from dfsq.quantizers.universal import UniversalSet


def cuts(images: Tensor) -> list[Sequence[Tensor]]:
    """The same images in batches of one, three and all, and in another order."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return [images.split(1), images.split(3), [images], images[order].split(2)]


@pytest.mark.parametrize("name", ["fast", "paper", "mse", "percentile"])
def test_artifacts_are_the_same_to_the_bit(small_model: SRModel, tmp_path: Path, name: str) -> None:
    images = torch.rand(7, 3, 48, 48)
    chosen = recipe(name, restarts=1) if name == "paper" else recipe(name)
    contents = []
    for batches in cuts(images):
        dfsq.save(quantize(small_model, batches, chosen), tmp_path / "a.safetensors")
        contents.append((tmp_path / "a.safetensors").read_bytes())
    assert contents[1:] == contents[:1] * 3


@pytest.mark.parametrize("changes", [{"compensation": True}, {"feedback": True}, {"avg_bits": 3}])
def test_methods_that_go_by_the_order_do_not_depend_on_batches(
    small_model: SRModel, changes: dict[str, object]
) -> None:
    images = torch.rand(4, 3, 24, 24)
    x = torch.rand(1, 3, 24, 24)
    outputs = []
    with torch.inference_mode():
        for batches in (images.split(1), images.split(3), [images]):
            outputs.append(quantize(small_model, batches, recipe("fast", **changes))(x))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


ROUNDINGS: dict[str, Planned] = {
    "accurate": Sequential(words=2),
    "integers": Integers(),
    "integers with outputs": Integers(target="onnxruntime"),
    "fixed ranges, to be trained": FixedStart(words=2),
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_maps_that_wait_in_a_file_are_those_that_wait_in_memory(small_model: SRModel, rounding: str) -> None:
    images, x = torch.rand(9, 3, 24, 24), torch.rand(1, 3, 24, 24)
    outputs = []
    for memory in (1 << 30, 0):
        model = copy.deepcopy(small_model)
        plan = dict.fromkeys((*model.body, "tail.1"), LayerBits(4, 4))
        if rounding == "integers with outputs":
            plan = with_outputs(model, plan, images[:1])
        quantize_layers(model, plan, {}, images, {}, ROUNDINGS[rounding], {}, lambda *_: None, memory)
        with torch.inference_mode():
            outputs.append(model(x))
    assert torch.equal(*outputs)


def test_a_network_whose_convolutions_round_differently_in_batches(data: Path) -> None:
    model = dfsq.load(data / "checkpoints" / "IMDN_x2.pth")
    names = [name for name, _ in model.net.named_modules() if name in model.body]
    stream = PatchStream([data / "images" / "bsds500-train"], scale=2, patches=4, patch_size=96)
    found = []
    for batches in cuts(torch.cat(list(stream))):
        observers = observe(model, names, batches, OnePass(), lambda *_: None)
        found.append(
            {name: observer for name, observer in observers.items() if isinstance(observer, HistogramObserver)}
        )
    for other in found[1:]:
        for name, observer in found[0].items():
            assert torch.equal(observer.histogram(), other[name].histogram()), name
            assert torch.equal(observer.spread(), other[name].spread()), name


@pytest.mark.parametrize("largest", [1e-35, 0.3, 1.0, 700.0])
def test_bins_of_a_whole_tensor_grow_as_if_they_had_always_been_large(largest: float) -> None:
    parts = [torch.zeros(1, 1, 4, 4), *(torch.randn(1, 1, 40, 40) * largest * 10.0**-step for step in range(4))]
    histograms = []
    for order in (parts, parts[::-1]):
        observer = TensorObserver(UniversalSet())
        for part in order:
            observer.observe(part)
        histograms.append(observer.histogram())
    assert torch.equal(*histograms)
    assert int(histograms[0].sum()) == 4 * 1600 + 16


def test_histogram_of_a_whole_tensor_is_that_of_its_values() -> None:
    observer = TensorObserver(UniversalSet())
    observer.observe(torch.tensor([[0.0, 1.0, 1.0, 3.0]]))
    histogram = observer.histogram()[0]
    # 0…3 is brought to −1…1; the bins that are counted first are four to eight times finer than the 4096.
    assert {int(index): int(histogram[index]) for index in histogram.nonzero()[:, 0]} == {0: 1, 1365: 2, 4095: 1}


def test_statistics_are_kept_per_layer_that_was_reached(small_model: SRModel) -> None:
    quantized = quantize(small_model, [torch.rand(2, 3, 8, 8)])
    assert all(layer.input_quantizer for name, layer in quantized_layers(quantized.net) if name in small_model.body)
