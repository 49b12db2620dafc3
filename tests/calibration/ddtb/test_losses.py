"""The losses of DDTB, by numpy and by hand."""

import numpy as np
import pytest
import torch

from calibration.ddtb import losses


def test_attention_against_numpy() -> None:
    student = np.array([[[[1, 2], [3, 4]], [[0, 1], [-1, 2]]]], np.float64)
    teacher = np.array([[[[2, 2], [0, 4]], [[1, -1], [1, 0]]]], np.float64)
    maps = []
    for each in (student, teacher):
        squares = (each**2).mean(1).reshape(1, 4)
        maps.append(squares / np.linalg.norm(squares))
    found = losses.attention_loss(torch.tensor(student), torch.tensor(teacher))
    assert float(found) == pytest.approx(((maps[0] - maps[1]) ** 2).mean(), rel=1e-12)


def test_attention_is_of_each_sample_alone_and_knows_no_scale() -> None:
    maps = torch.randn(3, 4, 2, 2)
    scaled = maps * torch.tensor([1.0, 2.0, 100.0]).view(3, 1, 1, 1)
    assert torch.allclose(losses.attention(maps), losses.attention(scaled))
    assert torch.allclose(losses.attention(maps).norm(dim=1), torch.ones(3))


def test_attention_of_nothing_is_a_number() -> None:
    maps = torch.zeros(1, 2, 2, 2, requires_grad=True)
    losses.attention_loss(maps, torch.ones(1, 2, 2, 2)).backward()
    assert maps.grad is not None and maps.grad.isfinite().all()


def test_grey_levels() -> None:
    assert float(losses.grey_levels(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 2 / 255))) == pytest.approx(2)


def test_gates_count_alike() -> None:
    assert float(losses.gate_loss([torch.full((4, 2), 2.0), torch.zeros(1, 2)])) == 2
