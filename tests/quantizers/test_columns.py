import pytest
import torch

from dfsq.quantizers.universal import UniversalSet
from dfsq.quantizers.weights import (
    ColumnScaledWeight,
    SubsetWeight,
    UniformWeight,
    scales_of,
    steps_of,
    with_columns,
)


def test_scales_by_hand() -> None:
    table = {0: 1.0, 2: 0.5**0.5, 4: 0.5, 8: 0.25, 40: 2.0**-10, 60: 2.0**-15}
    assert scales_of(torch.tensor(list(table), dtype=torch.uint8)).tolist() == pytest.approx(list(table.values()))
    every = torch.arange(64, dtype=torch.uint8)
    torch.testing.assert_close(scales_of(every), 2.0 ** (-every.double() / 4), check_dtype=False, rtol=1e-7, atol=0)
    assert torch.equal(steps_of(scales_of(every)), every)


def test_the_nearest_scale_is_taken() -> None:
    wanted = torch.tensor([1.0, 0.93, 0.91, 0.5001, 1e-3, 1e-9, 0.0])
    assert steps_of(wanted).tolist() == [0, 0, 1, 4, 40, 63, 63]


def weights() -> dict[str, SubsetWeight | UniformWeight]:
    codes = torch.tensor([[[[0, 1], [2, 3]]], [[[3, 2], [1, 0]]]], dtype=torch.uint8)
    points = torch.tensor([[-1024, -256, 0, 512], [-512, 0, 256, 1024]])
    return {
        "subset": SubsetWeight(codes, torch.tensor([2.0, 1.0]), points, 2, UniversalSet()),
        "uniform": UniformWeight(codes, torch.tensor([0.5, 1.0]), torch.tensor([1.0, 2.0]), 2),
    }


def test_columns_are_multiplied_by_their_scales() -> None:
    steps = torch.tensor([0, 4, 8, 12], dtype=torch.uint8)
    table = {
        "subset": [[-2.0, -0.25, 0.0, 0.125], [1.0, 0.125, 0.0, -0.0625]],
        "uniform": [[-0.5, 0.0, 0.125, 0.125], [1.0, 0.0, -0.25, -0.25]],
    }
    for kind, weight in weights().items():
        scaled = ColumnScaledWeight(weight, steps)
        assert scaled.dequantize().flatten(1).tolist() == table[kind]
        assert (scaled.kind, scaled.bits) == (kind, 2) and torch.equal(scaled.codes, weight.codes)
        assert torch.equal(scaled.levels(), weight.levels())
        assert scaled.column_scales().tolist() == [1, 0.5, 0.25, 0.125] and weight.column_scales().tolist() == [1] * 4
        tensors = scaled.to_tensors()
        columns = {"columns": tensors.pop("columns")}
        restored = with_columns(type(weight).from_tensors(tensors, (2, 1, 2, 2), 2, UniversalSet()), columns)
        assert torch.equal(restored.dequantize(), scaled.dequantize())
        assert with_columns(weight, {}) is weight


def test_other_codes_keep_the_scales() -> None:
    weight = weights()["subset"]
    scaled = ColumnScaledWeight(weight, torch.tensor([0, 4, 8, 12], dtype=torch.uint8))
    fitted = scaled.fitted(weight.codes.flip(0), weight.levels())
    assert torch.equal(fitted.column_scales(), scaled.column_scales())
    assert torch.equal(fitted.codes, weight.codes.flip(0))


@pytest.mark.parametrize("columns", [torch.zeros(2).byte(), torch.zeros(4), torch.zeros(1, 3).byte()])
def test_scales_that_do_not_fit_are_refused(columns: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="columns is"):
        with_columns(weights()["uniform"], {"columns": columns})
