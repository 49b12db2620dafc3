import json
import struct
from pathlib import Path

import pytest
import torch

import dfsq
from calibration import Recipe, quantize
from dfsq.artifact import read_header
from dfsq.errors import ArtifactError, DfsqError, UsageError
from dfsq.model import SRModel

X = torch.rand(2, 3, 20, 22, generator=torch.Generator().manual_seed(4))


def quantized(model: SRModel, **changes: object) -> SRModel:
    return quantize(model, [X], Recipe(**changes))  # type: ignore[arg-type]


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
