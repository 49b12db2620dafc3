"""Which tensors can be weights, and what becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dfsq.checkpoint import read_state
from dfsq.errors import CheckpointError

WEIGHT = torch.arange(16.0).view(4, 4) / 8


def read(tmp_path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.save(state, tmp_path / "checkpoint.pth")
    return read_state(tmp_path / "checkpoint.pth")


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2],
)
def test_floating_point_becomes_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    exact = torch.tensor([[0.5, -1.5], [0.0, 4.0]])  # in every one of them
    found = read(tmp_path, {"conv.weight": exact.to(dtype), "x": exact.t().to(dtype)})
    assert found["conv.weight"].dtype == torch.float32
    assert torch.equal(found["conv.weight"], exact)
    assert found["x"].is_contiguous()


def test_buffers_of_other_types_stay(tmp_path: Path) -> None:
    state = {
        "conv.weight": WEIGHT,
        "bn.num_batches_tracked": torch.tensor(3),
        "attention.relative_position_index": torch.arange(9),
        "mask": WEIGHT > 1,
    }
    found = read(tmp_path, state)
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == state[name].dtype for name in state)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: WEIGHT.to(torch.int8), "of type torch.int8.*floating-point weights"),
        (lambda: WEIGHT > 1, "of type torch.bool"),
        (lambda: WEIGHT.to(torch.complex64), "complex"),
        (lambda: torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8), "quantized.*before it was quantized"),
        (
            lambda: torch.quantize_per_channel(WEIGHT, torch.ones(4), torch.zeros(4), 0, torch.qint8),
            "quantized",
        ),
        (lambda: WEIGHT.to_sparse(), r"sparse.*to_dense\(\)"),
        (lambda: WEIGHT.to_sparse_csr(), "sparse"),
        (lambda: torch.nested.nested_tensor([WEIGHT[0], WEIGHT[1, :2]]), "nested"),
        (lambda: torch.empty(10**6, 10**6, device="meta"), "without values"),
        (lambda: WEIGHT * torch.nan, "NaN or infinite"),
        (lambda: WEIGHT.half() * 1e6, "NaN or infinite"),
        (lambda: WEIGHT.double() * 1e300, "values beyond float32's range"),
    ],
)
def test_what_is_no_weight_is_refused_by_name(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=f"checkpoint.pth: tail.weight .*{message}") as caught:
        read(tmp_path, {"head.weight": WEIGHT, "tail.weight": make()})  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_damaged_average_is_not_passed_over(tmp_path: Path) -> None:
    content = {"params": {"conv.weight": WEIGHT}, "params_ema": {"conv.weight": WEIGHT / 0}}
    with pytest.raises(CheckpointError, match="conv.weight holds NaN"):
        read(tmp_path, content)  # type: ignore[arg-type]
    content["params"], content["params_ema"] = content["params_ema"], content["params"]
    assert torch.equal(read(tmp_path, content)["conv.weight"], WEIGHT)  # type: ignore[arg-type]


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 3, 1), nn.Linear(4, 2))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("normalize", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_normalization_is_folded(tmp_path: Path, normalize: object, dim: int | None) -> None:
    net = layers()
    for layer in net:
        normalize(layer, dim=dim)  # type: ignore[operator]
    for name, parameter in net.named_parameters():
        if name.endswith(("_g", "original0")):
            parameter.data *= 1.5  # otherwise the direction alone would pass
    plain = layers()
    plain.load_state_dict(read(tmp_path, net.state_dict()))
    images = torch.rand(1, 3, 4, 6)
    torch.testing.assert_close(plain(images), net(images))


def test_magnitudes_that_fit_no_direction_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"conv.weight_v \(4, 4\) and its magnitude \(3, 1\) do not fit together"):
        read(tmp_path, {"conv.weight_v": WEIGHT, "conv.weight_g": torch.ones(3, 1)})
