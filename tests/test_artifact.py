import json
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import dfsq
from calibration import quantize, recipe
from dfsq import networks
from dfsq.artifact import read_header
from dfsq.artifact.model import tensors_of
from dfsq.artifact.parts import described, parts_of
from dfsq.errors import ArtifactError, DfsqError, UsageError
from dfsq.model import SRModel
from dfsq.networks.edsr import EDSR
from dfsq.nn import InputQuantizer, quantized_layers
from dfsq.nn.input_quantizer import register
from dfsq.quantizers.stored import Stored

X = torch.rand(2, 3, 20, 22, generator=torch.Generator().manual_seed(4))


def quantized(model: SRModel, **changes: object) -> SRModel:
    return quantize(model, [X], recipe("fast", **changes))


def edit_header(path: Path, **changes: object) -> None:
    """Change the dfsq metadata of an artifact and nothing else."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = {**json.loads(header["__metadata__"]["dfsq"]), **changes}
    header["__metadata__"]["dfsq"] = json.dumps(metadata)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


@pytest.mark.parametrize("weights", ["minmax", "mse", "subset"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_reloaded_outputs_are_equal_to_the_bit(small_model: SRModel, tmp_path: Path, weights: str, bits: int) -> None:
    check_reload(quantized(small_model, weights=weights, w_bits=bits, a_bits=bits), tmp_path)


def test_parts_of_a_file_counted_by_hand(small_model: SRModel, tmp_path: Path) -> None:
    model = quantize(small_model, [X], recipe("accurate", w_bits=2, a_bits=2, outside_bits=None))
    size = dfsq.save(model, tmp_path / "a.safetensors")
    parts = parts_of(model, size)
    # Four layers of 8×8×3×3: codes of 2 bits, two sets of four points in 9 bits at most, scales, limits and reaches
    # in 2 bytes, as is the side of a block.
    assert parts["codes"] == 4 * 8 * 8 * 9 // 4
    ranges = 8 * 4 + 8 * 2 + 8 * 2 + 2
    assert 4 * ranges < parts["points and ranges"] <= 4 * (2 * 8 * 4 * 9 // 8 + ranges)
    # An order, two exponents, and 28 codes of 8 bits, or fewer where some are more frequent.
    assert 4 * (8 + 2 * 8 + 28 // 8) < parts["shares"] <= 4 * (8 + 2 * 8 + 28)
    assert sum(parts.values()) == size == (tmp_path / "a.safetensors").stat().st_size
    assert described(tmp_path / "a.safetensors")["parts"] == parts


@pytest.mark.parametrize("kind", ["accurate", "int8", "gates"])
def test_what_quantizers_store_is_told_by_kind(small_model: SRModel, with_bounds: Callable, kind: str) -> None:
    if kind == "gates":
        model = with_bounds(small_model, True)
    else:
        model = quantize(
            small_model, [X], recipe(kind, outside_bits=None, **({"float_share": 0.0} if kind == "int8" else {}))
        )
    stored = {name: tensor.nbytes for name, tensor in tensors_of(model).items()}
    plain = sum(size for name, size in stored.items() if name.rpartition(".")[2] in ("weight", "bias"))
    assert parts_of(model, sum(stored.values()))["other"] == plain
    special = {"accurate": (".reach", ".block"), "int8": (".scale",), "gates": (".gate.scale", ".gate.first")}[kind]
    assert all(any(name.endswith(each) for name in stored) for each in special)


def test_reloaded_outputs_are_equal_with_error_feedback_and_compensation(small_model: SRModel, tmp_path: Path) -> None:
    check_reload(quantized(small_model, feedback=True, compensation=True), tmp_path)


def check_reload(model: SRModel, folder: Path) -> None:
    dfsq.save(model, folder / "a.safetensors")
    reloaded = dfsq.load(folder / "a.safetensors")
    with torch.inference_mode():
        for x in (X, 4 * X):  # the second saturates
            assert torch.equal(reloaded(x), model(x))


def test_same_model_gives_the_same_bytes_also_after_reloading(small_model: SRModel, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    dfsq.save(quantized(small_model), paths[0])
    dfsq.save(quantized(small_model), paths[1])
    dfsq.save(dfsq.load(paths[0]), paths[2])
    assert len({path.read_bytes() for path in paths}) == 1


def test_header_tells_what_was_done(small_model: SRModel, tmp_path: Path) -> None:
    dfsq.save(quantized(small_model, w_bits=3, a_bits=5, outside_bits=None, seed=11), tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    assert header["architecture"] == "edsr"
    assert header["recipe"]["seed"] == 11
    layer = header["layers"]["body.0.body.0"]
    assert (layer["w_bits"], layer["a_bits"], layer["shape"]) == (3, 5, [8, 8, 3, 3])
    assert len(header["layers"]) == 4


def test_all_that_is_known_of_the_network_is_restored(small_model: SRModel, tmp_path: Path) -> None:
    found = {"architecture": "option", "scale": "shapes", "rgb_range": "check", "weights": "params_ema"}
    small_model.info = replace(small_model.info, found=found, fidelity=31.25, source="a.pth", source_sha256="ab")
    small_model.body = ("body.1.body.2", "body.0.body.0")
    dfsq.save(quantized(small_model), tmp_path / "a.safetensors")
    reloaded = dfsq.load(tmp_path / "a.safetensors")
    assert reloaded.info == small_model.info
    assert reloaded.body == small_model.body


def test_networks_of_ones_own_are_restored_by_what_makes_them(small_model: SRModel, tmp_path: Path) -> None:
    model = networks.wrap(small_model.net, scale=2, rgb_range=255)
    dfsq.save(quantized(model), tmp_path / "a.safetensors")
    assert read_header(tmp_path / "a.safetensors")["code"]["name"].endswith("EDSR")
    with pytest.raises(UsageError, match="a network of your own"):
        dfsq.load(tmp_path / "a.safetensors")
    reloaded = dfsq.load(tmp_path / "a.safetensors", arch=lambda: EDSR(2, 2, 8, 1.0))
    with torch.inference_mode():
        assert torch.equal(reloaded(X), quantized(model)(X))
    with pytest.raises(UsageError, match="makes another network than the artifact"):
        dfsq.load(tmp_path / "a.safetensors", arch=lambda: EDSR(2, 3, 8, 1.0))


def test_the_header_is_read_without_torch(small_model: SRModel, tmp_path: Path) -> None:
    dfsq.save(quantized(small_model), tmp_path / "a.safetensors")
    code = (
        "import sys; from dfsq import artifact; header = artifact.read_header(sys.argv[1]);"
        "print(header['architecture'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.safetensors"], capture_output=True, text=True)
    assert done.stdout.split() == ["edsr", "False"], done.stderr


@register
class Coarse(InputQuantizer):
    """A kind of input quantizer that dfsq does not know: multiples of a step."""

    kind = "coarse, of the tests"

    def __init__(self, step: torch.Tensor, bits: int, signed: bool) -> None:
        super().__init__()
        self.register_buffer("step", step, persistent=False)
        self.bits, self.signed = bits, signed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x / self.step).round() * self.step

    def levels(self) -> torch.Tensor:
        return (torch.arange(2**self.bits) * self.step)[None]

    def to_tensors(self) -> dict[str, torch.Tensor]:
        return {"step": self.step}

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, torch.Tensor], channels: int, *, signed: bool, bits: int, **_others: object
    ) -> "Coarse":
        return cls(Stored(tensors, ("step",)).positive("step", torch.float32, (1,)), bits, signed)


def test_another_kind_of_input_quantizer_takes_one_class(small_model: SRModel, tmp_path: Path) -> None:
    model = quantized(small_model)
    for _, layer in quantized_layers(model.net):
        if layer.input_quantizer is not None:
            layer.input_quantizer = Coarse(torch.tensor([0.3]), 5, True)
    check_reload(model, tmp_path)
    assert read_header(tmp_path / "a.safetensors")["layers"]["body.0.body.0"]["inputs"] == Coarse.kind


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two input quantizers called 'coarse, of the tests'"):
        register(Coarse)


def test_full_precision_weights_are_stored_exactly(small_model: SRModel, tmp_path: Path) -> None:
    dfsq.save(quantized(small_model, outside_bits=None), tmp_path / "a.safetensors")
    reloaded = dfsq.load(tmp_path / "a.safetensors").net.state_dict()
    original = small_model.net.state_dict()
    assert all(
        torch.equal(reloaded[name], original[name]) for name in ("head.0.weight", "tail.1.bias", "body.2.weight")
    )


def test_four_bit_edsr_baseline_takes_a_sixth_of_its_float32_size(tmp_path: Path) -> None:
    model = dfsq.load("edsr-baseline-x2")
    float32 = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert dfsq.save(quantized(model), tmp_path / "a.safetensors") <= float32 / 6


def test_full_precision_models_are_not_saved(small_model: SRModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quantize the model first"):
        dfsq.save(small_model, tmp_path / "a.safetensors")


def test_what_no_reader_would_accept_is_not_saved(small_model: SRModel, tmp_path: Path) -> None:
    model = quantized(small_model)
    with torch.no_grad():
        model.net.head[0].bias[0] = torch.nan
    with pytest.raises(UsageError, match="head.0.bias has values that are not finite"):
        dfsq.save(model, tmp_path / "a.safetensors")
    model = quantized(small_model)
    for changes, said in (
        ({"rgb_range": torch.inf}, "not JSON compliant"),
        ({"scale": 17}, "scale is 17; it must be an integer from 1 to 16"),
        ({"hyperparameters": {**model.info.hyperparameters, "blocks": {1}}}, "not JSON serializable"),
    ):
        model.info = replace(small_model.info, **changes)
        with pytest.raises(UsageError, match=said):
            dfsq.save(model, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


class TestDamage:
    @pytest.fixture
    def path(self, small_model: SRModel, tmp_path: Path) -> Path:
        dfsq.save(quantized(small_model), tmp_path / "a.safetensors")
        return tmp_path / "a.safetensors"

    def test_flipped_bit(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="checksum"):
            dfsq.load(path)

    def test_truncated(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ArtifactError, match="truncated or damaged"):
            dfsq.load(path)

    def test_newer_version(self, path: Path) -> None:
        edit_header(path, version=99)
        with pytest.raises(ArtifactError, match="version 99.*upgrade"):
            dfsq.load(path)

    @pytest.mark.parametrize(
        "changes",
        [
            {"version": None},
            {"layers": {}},
            {"layers": {"nowhere": {}}},
            {"recipe": {}},
            {"recipe": {"words": 3}},
            {"architecture": "nonsense"},
            {"hyperparameters": {"scale": 2}},
        ],
    )
    def test_metadata_that_does_not_fit(self, path: Path, changes: dict[str, object]) -> None:
        edit_header(path, **changes)
        with pytest.raises(ArtifactError, match="quantize"):
            dfsq.load(path)

    def test_failed_write_keeps_the_old_file(
        self, path: Path, small_model: SRModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = path.read_bytes()

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(DfsqError, match="No space left on device"):
            dfsq.save(quantized(small_model, w_bits=2), path)
        assert path.read_bytes() == before
        assert [each.name for each in path.parent.iterdir()] == ["a.safetensors"]
