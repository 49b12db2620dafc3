import pytest
import torch

from calibration.luma import weighed

LUMA = torch.tensor([65.481, 128.553, 24.966])


def squared(errors: torch.Tensor) -> float:
    return float(weighed(errors.view(1, 3, 1, 1)).square().sum())


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (LUMA / LUMA.norm(), 2.5),
        (torch.tensor([128.553, -65.481, 0.0]) / 144.269, 0.25),
        (torch.tensor([1.0, 1.0, 1.0]), 5.784),  # 0.75 + 2.25 · 219² / 146.414²
        (torch.tensor([0.0, 1.0, 0.0]), 1.985),  # 0.25 + 2.25 · 128.553² / 146.414²
        (torch.tensor([0.0, 0.0, 1.0]), 0.315),
    ],
)
def test_by_hand(error: torch.Tensor, counts: float) -> None:
    assert squared(error) == pytest.approx(counts, abs=0.002)


def test_noise_keeps_its_mean_square() -> None:
    noise = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert float(weighed(noise).square().mean()) == pytest.approx(float(noise.square().mean()), rel=0.02)
