"""Every engine is the network: the same pictures as torch, whatever comes in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import dfsq
from dfsq.engines import exported, opening
from dfsq.engines.description import Description
from dfsq.engines.registry import GRAPH_ENGINES
from dfsq.errors import CheckpointError, DfsqError, UsageError
from dfsq.evaluation.upscaling import upscale_image
from dfsq.extras import installed
from dfsq.model import SRModel

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not installed(entry.library), reason=f"{name} is not installed"))
    for name, entry in GRAPH_ENGINES.items()
]
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 37, 41, 4), np.uint8)


@pytest.fixture
def file(plausible_model: SRModel, plausible_graph: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A checkpoint whose export, which takes seconds, was made before; and a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(exported, "export", lambda model: plausible_graph)
    torch.save(plausible_model.net.state_dict(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.mark.parametrize("name", ENGINES)
def test_pictures_are_those_of_torch(name: str, file: Path) -> None:
    engine, reference = dfsq.engine(file, name, precision="f32"), dfsq.engine(file)
    assert (engine.scale, engine.description.engine, reference.description.engine) == (2, name, "torch")
    assert engine.info == reference.info
    for channels in (1, 2, 3, 4):
        for dtype, step in ((np.uint8, 1), (np.uint16, 257)):
            picture = PICTURES[0, :, :, :channels].astype(dtype) * dtype(step)
            expected, found = (upscale_image(each, picture).astype(int) for each in (reference, engine))
            assert found.shape == (74, 82, channels)
            assert abs(found - expected).max() <= 1, (channels, dtype)
    batch = torch.rand(2, 3, 20, 31)
    torch.testing.assert_close(engine(batch), reference(batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENGINES)
def test_windows_are_the_whole(name: str, file: Path, tmp_path: Path) -> None:
    engine = dfsq.engine(file, name, precision="f32")
    reach = engine.reach
    # 3×3 convolutions: the head, two in each of two blocks, one after them, the upsampler; and one of half the pixels.
    assert (reach.overlap, reach.step) == (8, 1)
    image = torch.rand(1, 3, 75, 90)
    done: list[float] = []
    tiled = engine.tiled(20, tmp_path, on_progress=done.append)
    torch.testing.assert_close(tiled(image), engine(image), rtol=0, atol=1e-6)
    assert len(done) == 4 * 5
    assert done[-1] == 1
    grey = image[:, :1]
    torch.testing.assert_close(tiled(grey), engine(grey), rtol=0, atol=1e-6)
    assert "overlap by 8 pixels" in tiled.plan(75, 90)
    cut_short = engine.tiled(20, tmp_path, overlap=2)
    assert "seams may show" in cut_short.plan(75, 90)
    assert float((cut_short(image) - engine(image)).abs().max()) > 1e-6


@pytest.mark.parametrize("name", ENGINES)
def test_memory_decides_on_tiles(name: str, file: Path) -> None:
    engine = dfsq.engine(file, name, precision="f32")
    assert 100 < engine.bytes_per_pixel() < 1000  # 8 to 32 maps of four bytes, a few at a time
    assert engine.tile(100, 100, 1e9) is None
    assert 16 <= (engine.tile(3000, 3000, 1e7) or 0) < 512


@pytest.mark.parametrize("name", ENGINES)
def test_an_export_is_kept(name: str, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[SRModel] = []
    graph = exported.export(None)  # type: ignore[arg-type]
    monkeypatch.setattr(exported, "export", lambda model: made.append(model) or graph)
    notes: list[str] = []
    for _ in range(2):
        dfsq.engine(file, name, precision="f32", on_note=notes.append)
    assert (len(made), len(notes)) == (1, 1)
    (kept,) = (tmp_path / "cache" / "dfsq" / "graphs").iterdir()
    for damaged in (b"", graph[:2000], b"\x08\x08\x12\x00", graph.replace(b"lr", b"rl", 1)):
        kept.write_bytes(damaged)
        made.clear()
        dfsq.engine(file, name, precision="f32")
        assert len(made) == 1, damaged[:20]
        assert kept.read_bytes() == graph
    # Another checkpoint under the same name is another network.
    state = torch.load(file)
    torch.save({key: tensor * 1.001 for key, tensor in state.items()}, file)
    made.clear()
    with pytest.raises(DfsqError, match="another picture than torch"):
        dfsq.engine(file, name, precision="f32", check=False)
    assert len(made) == 1


def test_a_graph_of_another_network_is_not_taken_from_the_cache(file: Path, tmp_path: Path, graph: Callable) -> None:
    pytest.importorskip("onnxruntime")
    dfsq.engine(file, "onnxruntime")
    (kept,) = (tmp_path / "cache" / "dfsq" / "graphs").iterdir()
    good = kept.read_bytes()
    kept.write_bytes(graph(scale=4).read_bytes())
    dfsq.engine(file, "onnxruntime")
    assert kept.read_bytes() == good


FILL = """
import sys
from pathlib import Path
import dfsq
from dfsq.engines import exported
exported.export = lambda model: Path(sys.argv[2]).read_bytes()
sys.stdin.readline()
print(dfsq.engine(sys.argv[1], "onnxruntime").scale)
"""


def test_two_processes_fill_the_cache_at_once(file: Path, plausible_graph: bytes, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "made.onnx").write_bytes(plausible_graph)
    command = [sys.executable, "-c", FILL, str(file), str(tmp_path / "made.onnx")]
    runs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        assert run.stdin
        run.stdin.write("\n")
        run.stdin.flush()
    assert [run.communicate()[0].strip() for run in runs] == ["2", "2"]
    (kept,) = (tmp_path / "cache" / "dfsq" / "graphs").iterdir()
    assert kept.read_bytes() == plausible_graph


def test_no_cache_is_no_obstacle(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    notes: list[str] = []
    assert dfsq.engine(file, "onnxruntime", on_note=notes.append).scale == 2
    assert "not kept" in notes[0]


@pytest.mark.parametrize("name", ENGINES)
def test_graphs_of_other_tools(name: str, graph: Callable, tmp_path: Path) -> None:
    cases = {
        "fixed batch": ({}, 1.0, 3),
        "free batch, ×3": ({"scale": 3, "shape": ("n", 3, None, None)}, 1.0, 3),
        "luminance": ({"shape": (1, 1, "h", "w")}, 1.0, 1),
        "channels last": ({"shape": (1, "h", "w", 3), "last": True}, 1.0, 3),
        "bytes": ({"shape": ("n", "h", "w", 3), "last": True, "dtype": "UINT8"}, 255.0, 3),
        "one size": ({"shape": (1, 3, 16, 24)}, 1.0, 3),
        "a larger size": ({"shape": (1, 3, 48, 64)}, 1.0, 3),
        "bytes of one size": ({"shape": (1, 16, 16, 3), "last": True, "dtype": "UINT8"}, 255.0, 3),
        "half": ({"dtype": "FLOAT16"}, 1.0, 3),
    }
    picture = PICTURES[1, :, :, :3]
    for title, (options, rgb_range, channels) in cases.items():
        engine = dfsq.engine(graph(**options), name, precision="f32")
        assert (engine.info.rgb_range, engine.info.channels) == (rgb_range, channels), title
        scale = options.get("scale", 2)
        assert engine.scale == scale
        found = upscale_image(engine, picture)
        assert found.shape == (37 * scale, 41 * scale, 3)
        if channels == 3:
            assert np.array_equal(found, picture.repeat(scale, 0).repeat(scale, 1)), title
        assert np.array_equal(
            upscale_image(engine, picture[:, :, :1]), picture[:, :, :1].repeat(scale, 0).repeat(scale, 1)
        )


def test_the_range_of_a_foreign_graph_is_checked(graph: Callable) -> None:
    pytest.importorskip("onnxruntime")
    import onnx
    from onnx import helper

    path = graph()
    model = onnx.load(path)
    # What lies in 0–1 becomes black: a network of 0–255, in which half a grey level is nothing.
    model.graph.node[0].input[0] = "r"
    model.graph.node.insert(0, helper.make_node("Round", ["x"], ["r"]))
    onnx.save(model, path)
    engine = dfsq.engine(path)
    assert engine.info.rgb_range == 255
    assert engine.info.found["rgb_range"] == "check"
    with pytest.raises(UsageError, match="foreign.onnx: `rgb_range` 1 reaches"):
        dfsq.engine(path, rgb_range=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (1, 3, 64, "w")}, "takes images of one height or one width alone"),
        ({"shape": (1, 4, "h", "w")}, "has 4 channels"),
        ({"shape": (1, 3, "h", "w"), "metadata": {"dfsq.scale": "3"}}, "says that it upscales by 3, but gives"),
        ({"shape": (1, 3, "h", "w"), "metadata": {"dfsq.scale": '"many"'}}, "no dfsq.scale from 1 to 16"),
        ({"shape": (1, 3, "h", "w"), "metadata": {"dfsq.scale": "NaN"}}, "no dfsq.scale from 1 to 16"),
        ({"shape": (1, 3, "h", "w"), "metadata": {"dfsq.version": "1"}}, "no dfsq.scale from 1 to 16"),
    ],
)
def test_graphs_that_cannot_be_used(options: dict, message: str, graph: Callable) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(CheckpointError, match=message) as raised:
        dfsq.engine(graph(**options))
    assert "\n" not in str(raised.value)
    assert "foreign.onnx" in str(raised.value)


@pytest.mark.parametrize("name", ENGINES)
def test_damaged_graphs(name: str, graph: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = graph().read_bytes()
    cases = {
        "empty.onnx": (b"", "is empty"),
        "text.onnx": (b"hello, this is no graph\n" * 30, "is text, no graph"),
        "cut.onnx": (whole[: len(whole) // 2], "damaged"),
        "noise.onnx": (whole[:20] + bytes(range(256)), "damaged"),
        "page.onnx": (b"<!DOCTYPE html><html>", "a web page, not the file itself"),
        "pointer.onnx": (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        "missing.onnx": (None, "does not exist"),
    }
    for file, (content, message) in cases.items():
        if content is not None:
            (tmp_path / file).write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as raised:
            dfsq.engine(tmp_path / file, name)
        assert file in str(raised.value)
        assert "\n" not in str(raised.value), file
    assert capfd.readouterr() == ("", "")  # libraries keep quiet


def test_names_decide_nothing(file: Path, graph: Callable, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph().rename(tmp_path / "graph.pth")
    assert dfsq.engine(tmp_path / "graph.pth").description.engine == "onnxruntime"
    file.rename(tmp_path / "model.onnx")
    assert dfsq.engine(tmp_path / "model.onnx").description.engine == "torch"


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("tensorflow", "auto", "choose torch, onnxruntime, openvino"),
        ("torch", "f64", "choose f32, bf16, auto"),
        ("torch", "auto", "a graph that torch does not run; choose `engine` onnxruntime or openvino"),
        ("onnxruntime", "bf16", "onnxruntime computes in f32, not in"),
    ],
)
def test_what_cannot_be_combined(name: str, precision: str, message: str, graph: Callable) -> None:
    with pytest.raises(UsageError, match=message):
        dfsq.engine(graph(), name, precision=precision)


@pytest.mark.parametrize("name", list(GRAPH_ENGINES))
def test_an_engine_that_is_not_installed(
    name: str, file: Path, graph: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, GRAPH_ENGINES[name].library, None)
    extra = rf"{name} is not installed .*; pip install 'dfsq\[{GRAPH_ENGINES[name].extra}\]'"
    notes: list[str] = []
    for model in (file, graph()):
        with pytest.raises(DfsqError, match=extra):
            dfsq.engine(model, name, on_note=notes.append)
    assert not notes  # nothing was exported in vain


def test_a_graph_without_any_engine(graph: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in GRAPH_ENGINES.values():
        monkeypatch.setitem(sys.modules, entry.library, None)
    with pytest.raises(DfsqError, match=r"none is installed; pip install 'dfsq\[onnx\]' or pip install"):
        dfsq.engine(graph())


def test_bf16_in_torch(plausible_model: SRModel) -> None:
    engine = dfsq.engine(plausible_model, precision="bf16")
    image = torch.rand(1, 3, 20, 20)
    difference = float((engine(image) - dfsq.engine(plausible_model)(image)).abs().max())
    assert 0 < difference < 0.05
    assert engine.description.precision == "bf16"


def test_evaluate_takes_either(plausible_model: SRModel) -> None:
    from dfsq.evaluation import samples

    sets = [samples.benchmark(2)]
    assert dfsq.evaluate(plausible_model, sets) == dfsq.evaluate(dfsq.engine(plausible_model), sets)
    with pytest.raises(UsageError, match="takes an SRModel"):
        opening.as_engine(torch.nn.Identity(), "evaluate")  # type: ignore[arg-type]


def test_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    from dfsq.engines import processor

    everything = frozenset().union(*(flags for _, _, flags in processor._LADDER))
    monkeypatch.setattr(processor, "_flags", lambda: everything)
    for limit, expected in {
        "": "AMX_FP16",
        "AVX512_CORE_VNNI": "AVX512_VNNI",
        "avx2": "AVX2",
        "odd": "AMX_FP16",
    }.items():
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert processor.instruction_set(limited=True) == expected
        assert processor.instruction_set(limited=False) == "AMX_FP16"
    assert str(Description("openvino", "1", "f32", "AVX2")) == "openvino 1 (f32, AVX2)"
