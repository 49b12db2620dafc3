import pytest

from calibration.training.precision import dtype_of
from calibration.training.sitting import Sitting
from dfsq.errors import UsageError


def test_minutes_become_a_number_of_steps() -> None:
    said: list[str] = []
    sitting = Sitting(minutes=15, note=said.append)
    assert sitting.steps_that_fit(0.4, 60.0) == 2100  # 840 s of 0.4 s each
    assert said == ["15 minutes are about 2100 steps here"]


def test_too_few_minutes_give_some_steps_all_the_same() -> None:
    assert Sitting(minutes=1).steps_that_fit(0.5, 90.0) == 10


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_minutes_that_cannot_be(minutes: float) -> None:
    with pytest.raises(UsageError, match="`minutes` is"):
        Sitting(minutes=minutes)


def test_a_precision_that_is_asked_for_is_taken() -> None:
    import torch

    cpu = torch.device("cpu")
    assert dtype_of("f32", cpu) == torch.float32
    assert dtype_of("bf16", cpu) == torch.bfloat16


@pytest.mark.parametrize("limit, expected", [("AVX2", "float32"), ("AVX512_CORE_VNNI", "float32")])
def test_half_precision_only_where_it_is_fast(limit: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert str(dtype_of("auto", torch.device("cpu"))) == f"torch.{expected}"
