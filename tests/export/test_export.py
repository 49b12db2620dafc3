"""What is written: sizes, bytes, formats, metadata; and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import calibration
import dfsq
from calibration import PatchStream
from dfsq.errors import DfsqError, UsageError
from dfsq.evaluation.samples import calibration_images
from dfsq.export import export, openvino_ir, tidy, to_onnx
from dfsq.export.check import pictures
from dfsq.model import SRModel

onnx = pytest.importorskip("onnx", reason="pip install 'dfsq[onnx]'")
pytest.importorskip("onnxscript", reason="pip install 'dfsq[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'dfsq[onnx]'")
openvino = pytest.importorskip("openvino", reason="pip install 'dfsq[openvino]'")


class Tiny(nn.Module):
    """A network of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 12, 3, padding=1)
        self.up = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.up(self.last(torch.relu(self.first(x))))
        return result


class Mixer(Tiny):
    """With a linear layer over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.mix(self.first(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        result: Tensor = self.up(self.last(maps))
        return result


class ByValue(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.mean() > 2 else super().forward(x) + 1


class ByParity(Tiny):
    """Odd heights are traced: what is written for them is wrong for even ones."""

    def forward(self, x: Tensor) -> Tensor:
        result = super().forward(x)
        return result if x.shape[2] % 2 != 0 else result + 1


class OneByOne(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(OneByOne, self).forward(x[i : i + 1]) for i in range(len(x))])


def seeded(kind: Callable[[], nn.Module] = Tiny) -> SRModel:
    torch.manual_seed(0)
    return dfsq.wrap(kind().eval(), scale=2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SRModel, Path, Any]:
    model, path = seeded(), tmp_path_factory.mktemp("export") / "a.onnx"
    return model, path, export(model, path)


def test_the_graph_is_clean(exported: tuple[SRModel, Path, Any]) -> None:
    graph = onnx.load(exported[1])
    onnx.checker.check_model(graph, full_check=True)
    dims = [
        [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]
        for value in (graph.graph.input[0], graph.graph.output[0])
    ]
    assert dims == [["N", 3, "H", "W"], ["N", 3, "2*H", "2*W"]]
    assert [(value.name, value.type.tensor_type.elem_type) for value in (*graph.graph.input, *graph.graph.output)] == [
        ("lr", onnx.TensorProto.FLOAT),
        ("sr", onnx.TensorProto.FLOAT),
    ]
    assert {"net.first.weight", "net.last.bias"} <= {each.name for each in graph.graph.initializer}
    assert b"pkg.torch" not in exported[1].read_bytes()
    assert [node.op_type for node in graph.graph.node] == ["Conv", "Relu", "Conv", "DepthToSpace"]


def test_sizes_and_batches_are_free(exported: tuple[SRModel, Path, Any]) -> None:
    session = onnxruntime.InferenceSession(str(exported[1]))
    for shape in ((1, 3, 1, 1), (3, 3, 5, 2), (2, 3, 40, 33)):
        images = torch.rand(shape)
        with torch.no_grad():
            expected = exported[0](images)
        assert np.abs(session.run(None, {"lr": images.numpy()})[0] - expected.numpy()).max() < 1e-5


def test_facts_are_in_the_file(exported: tuple[SRModel, Path, Any]) -> None:
    entries = {each.key: json.loads(each.value) for each in onnx.load(exported[1]).metadata_props}
    assert entries == {f"dfsq.{key}": value for key, value in exported[2].facts.items()}
    assert entries["dfsq.scale"] == 2
    assert entries["dfsq.version"] == dfsq.__version__
    assert entries["dfsq.quantization"] is None
    assert entries["dfsq.input"] == {
        "name": "lr",
        "layout": "NCHW",
        "shape": ["N", 3, "H", "W"],
        "dtype": "float32",
        "range": [0, 1],
        "colours": "RGB",
    }


def test_bytes_in_and_out_as_openvino_ir(tmp_path: Path) -> None:
    model = seeded()
    result = export(model, tmp_path / "a.xml", uint8=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.bin", "a.xml"]
    assert result.size == sum(each.stat().st_size for each in tmp_path.iterdir())
    assert {key: json.loads(value) for key, value in openvino_ir.read(tmp_path / "a.xml").items()} == {
        f"dfsq.{key}": value for key, value in result.facts.items()
    }
    images, _ = pictures(2, 21, 30, 2)
    as_bytes = np.ascontiguousarray((images * 255).round().byte().permute(0, 2, 3, 1).numpy())
    found = openvino.Core().compile_model(str(tmp_path / "a.xml"), "CPU")(as_bytes)[0]
    with torch.no_grad():
        expected = (model(images) * 255).clamp(0, 255).round().byte().permute(0, 2, 3, 1)
    assert (found.dtype, found.shape) == (np.uint8, (2, 42, 60, 3))
    assert np.abs(found.astype(int) - expected.numpy().astype(int)).max() <= 1


@pytest.mark.parametrize(("kind", "recipe"), [(Tiny, "accurate"), (Mixer, "fast")])
def test_subset_quantized(kind: Callable[[], nn.Module], recipe: str, tmp_path: Path) -> None:
    patches = PatchStream(calibration_images(), scale=2, patches=2, patch_size=64, seed=0)
    chosen = calibration.recipe(recipe, scope="all")
    model = calibration.quantize(seeded(kind), patches, chosen)
    before = [layer.input_quantizer for _, layer in dfsq.nn.quantized_layers(model.net)]
    result = export(model, tmp_path / "a.onnx")
    assert before == [layer.input_quantizer for _, layer in dfsq.nn.quantized_layers(model.net)]
    assert result.facts["quantization"] == "subset: no speed-up"
    assert result.facts["header"]["layers"].keys() == dict(dfsq.nn.quantized_layers(model.net)).keys()
    assert [each.share for each in result.checks] == [1.0, 1.0]


def test_what_fails_the_check_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(b"old")

    def spoil(graph: Any) -> None:
        (bias,) = (each for each in graph.graph.initializer if each.name == "net.last.bias")
        values = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))

    monkeypatch.setattr(tidy, "drop_unused", spoil)
    with pytest.raises(DfsqError, match=r"onnxruntime is off by 0.01 at 33×47, 2 images, at most 0.0001"):
        export(seeded(), tmp_path / "a.onnx")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.onnx", b"old")]


def test_code_that_decides_by_values_cannot_be_exported() -> None:
    with pytest.raises(DfsqError, match="ByValue cannot be exported: its code decides by values"):
        to_onnx(seeded(ByValue))


def test_a_graph_that_is_right_for_some_sizes_alone(tmp_path: Path) -> None:
    with pytest.raises(DfsqError, match=r"off by .* at 48×40.*`size`"):
        export(seeded(ByParity), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
    result = export(seeded(ByParity), tmp_path / "a.onnx", size=(16, 24))
    assert result.facts["input"]["shape"] == ["N", 3, 16, 24]


def test_code_that_counts_images_takes_one(tmp_path: Path) -> None:
    assert export(seeded(OneByOne), tmp_path / "a.onnx").facts["input"]["shape"] == [1, 3, "H", "W"]


def test_names_and_options_that_there_are_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown suffix '.tflite'; choose .onnx, .xml"):
        export(seeded(), tmp_path / "a.tflite")
    with pytest.raises(UsageError, match="`target` 'tpu'"):
        to_onnx(seeded(), target="tpu")
    with pytest.raises(UsageError, match="`opset` 7; choose 18 to 23"):
        to_onnx(seeded(), opset=7)
    with pytest.raises(UsageError, match="wrap it first"):
        to_onnx(Tiny())  # type: ignore[arg-type]
