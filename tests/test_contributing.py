"""The examples of CONTRIBUTING.md do what it says: each is put where it belongs, and used as a user would."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

import calibration
import dfsq
from calibration.recipes.recipe import METHODS
from dfsq.artifact import read_header
from dfsq.engines import opening
from dfsq.engines import registry as engines
from dfsq.engines.registry import ONNX, Entry
from dfsq.export import export
from dfsq.export.registry import FORMATS, Format
from dfsq.model import Quantization, SRModel
from dfsq.networks.registry import architectures
from dfsq.nn import INPUT_QUANTIZERS, counterpart, quantized_layers, replace
from dfsq.quantizers.weights import UniformWeight
from dfsq.report import sections
from dfsq.report.findings import Findings
from dfsq.report.report import ModelReport, Report

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = {
    re.findall(r"`([\w/]+\.py)`", before.split("\n\n")[-1])[0]: block
    for before, block in re.findall(r"(.*?):\n\n```python\n(\"\"\".*?)^```", PAGE, re.DOTALL | re.MULTILINE)
}
"""Modules by the file that they are said to be: the first that the paragraph before them names."""
X = torch.rand(1, 3, 20, 22, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Puts an example where the page says, as if it were a file of the package, and imports it."""
    names = []

    def add(path: str) -> ModuleType:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(EXAMPLES[path], encoding="utf-8")
        package = import_module(str(Path(path).parent).replace("/", "."))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
        name = f"{package.__name__}.{file.stem}"
        names.append(name)
        return import_module(name)

    found = (architectures, sections.parts)
    for each in found:
        each.cache_clear()
    registries = {id(each): (each, dict(each)) for each in (METHODS, INPUT_QUANTIZERS)}
    yield add
    for each, before in registries.values():
        each.clear()
        each.update(before)
    for each in found:
        each.cache_clear()
    for name in names:
        package, _, module = name.rpartition(".")
        sys.modules.pop(name, None)
        vars(sys.modules[package]).pop(module, None)


def test_network(added: Callable, tmp_path: Path) -> None:
    example = added("dfsq/networks/tiny.py")
    for scale, channels in ((2, 3), (3, 1)):
        net = example.Tiny(scale=scale, blocks=2, features=8, channels=channels)
        torch.save(net.state_dict(), tmp_path / "tiny.pth")
        model = dfsq.load(tmp_path / "tiny.pth", check=False)
        assert (model.info.architecture, model.scale, model.info.channels) == ("tiny", scale, channels)
        assert model.body == ("blocks.0", "blocks.1")
        assert saved_and_loaded(calibration.quantize(model, [X], calibration.recipe("fast")), tmp_path)


def test_method(added: Callable, small_model: SRModel, tmp_path: Path) -> None:
    added("calibration/methods/weights_alone.py")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("method: weights-alone\nweights: mse\nw_bits: 3\nskip: ['body.0.*']\nlayer_bits: {'*.2': 5}\n")
    quantized = calibration.quantize(small_model, [X], calibration.recipe(str(recipe)))
    layers = dict(quantized_layers(quantized.net))
    assert {name: each.quantized_weight.bits for name, each in layers.items()} == {
        "body.1.body.0": 3,
        "body.1.body.2": 5,
    }
    assert saved_and_loaded(quantized, tmp_path)
    with pytest.raises(dfsq.errors.UsageError, match="weights"):
        calibration.recipe(str(recipe), weights="subset")


def test_input_quantizer(added: Callable, small_model: SRModel, tmp_path: Path) -> None:
    example = added("dfsq/nn/step_quantizer.py")
    layer = small_model.net.get_submodule("body.0.body.2")
    codes = torch.zeros(layer.weight.shape, dtype=torch.uint8)
    weight = UniformWeight(codes, torch.ones(len(codes)), torch.zeros(len(codes)), bits=4)
    quantizer = example.StepQuantizer(torch.tensor(0.5), signed=True, bits=3)
    assert quantizer(torch.tensor([-9.0, -0.8, 0.3, 0.6, 9.0])).tolist() == [-2, -1, 0.5, 0.5, 1.5]
    assert quantizer.levels().tolist() == [[-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5]]
    replace(small_model.net, "body.0.body.2", counterpart(layer, weight, quantizer))
    small_model.quantization = Quantization({"name": "by hand"}, {})
    assert saved_and_loaded(small_model, tmp_path)
    assert read_header(tmp_path / "a.safetensors")["layers"]["body.0.body.2"]["inputs"] == "step"


def test_export_target(
    added: Callable, plausible_model: SRModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("onnx", "onnxscript"):
        pytest.importorskip(library)
    added("dfsq/export/listing.py")
    (row,) = re.findall(r"^```python\n(.*Format.*)\n^```", PAGE, re.MULTILINE)
    for suffix, form in eval(f"{{{row}}}", {"Format": Format}).items():
        monkeypatch.setitem(FORMATS, suffix, form)
    export(plausible_model, tmp_path / "graph.txt")
    text = (tmp_path / "graph.txt").read_text(encoding="utf-8")
    assert text.count("Conv") >= 7 and "DepthToSpace" in text


def test_engine(added: Callable, plausible_graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added("dfsq/engines/reference.py")
    (row,) = re.findall(r"^```python\n(Entry.*)\n^```", PAGE, re.MULTILINE)
    monkeypatch.setitem(engines.GRAPH_ENGINES, "reference", eval(row, {"Entry": Entry, "ONNX": ONNX}))
    monkeypatch.setattr(opening, "NAMES", (*opening.NAMES, "reference"))  # which follows from the rows
    (tmp_path / "model.onnx").write_bytes(plausible_graph)
    engine = dfsq.engine(tmp_path / "model.onnx", "reference", precision="f32")
    other = dfsq.engine(tmp_path / "model.onnx", precision="f32")
    assert str(engine.description).startswith("reference ") and other.description.engine != "reference"
    torch.testing.assert_close(engine(X), other(X), rtol=0, atol=1e-4)


def test_report_section(added: Callable) -> None:
    example = added("dfsq/report/sections/sizes.py")
    report = Report((ModelReport("a.pth", "edsr", 2, (), size=5_480_000), ModelReport("bicubic", "bicubic", 2, ())))
    assert example.PART in sections.parts()
    section = example.sizes(Findings(report))
    assert [[getattr(cell, "text", cell) for cell in row] for row in section.rows] == [["a.pth", "5.48"]]
    assert example.sizes(Findings(Report(report.models[1:]))) is None


def test_every_example_is_used() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(EXAMPLES) == 6
    assert all(f'added("{path}")' in source for path in EXAMPLES)
    assert PAGE.count("```python") == len(EXAMPLES) + 2  # and two rows


def saved_and_loaded(model: SRModel, folder: Path) -> bool:
    """Whether a model comes back from its artifact to the bit."""
    dfsq.save(model, folder / "a.safetensors")
    with torch.inference_mode():
        return torch.equal(dfsq.load(folder / "a.safetensors", check=False)(X), model(X))
