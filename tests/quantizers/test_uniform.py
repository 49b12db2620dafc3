import torch

from dfsq.quantizers import uniform


def test_two_bits_worked_by_hand() -> None:
    # Range -1…2 at 2 bits: scale 1, zero point 1, grid -1, 0, 1, 2.
    weight = torch.tensor([[-1.0, -0.4, 0.6, 2.0]])
    scale, zero_point = uniform.grid(*uniform.minmax_range(weight), 2)
    codes = uniform.encode(weight, scale, zero_point, 2)
    assert (scale.item(), zero_point.item()) == (1.0, 1.0)
    assert codes.tolist() == [[0, 1, 2, 3]]
    assert uniform.decode(codes, scale, zero_point).tolist() == [[-1.0, 0.0, 1.0, 2.0]]


def test_error_is_at_most_half_a_step_and_zero_stays_zero() -> None:
    weight = torch.randn(16, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    weight[:, 0, 0, 0] = 0
    scale, zero_point = uniform.grid(*uniform.minmax_range(weight), 4)
    rounded = uniform.decode(uniform.encode(weight, scale, zero_point, 4), scale, zero_point)
    assert bool(((rounded - weight).abs().flatten(1).amax(1) <= scale * 1.001).all())
    assert bool((rounded[:, 0, 0, 0] == 0).all())


def test_clipping_never_raises_the_squared_error() -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(1)) ** 3

    def error(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        scale, zero_point = uniform.grid(low, high, 3)
        rounded = uniform.decode(uniform.encode(weight, scale, zero_point, 3), scale, zero_point)
        return (rounded - weight).square().sum(1)

    clipped, plain = error(*uniform.mse_range(weight, 3)), error(*uniform.minmax_range(weight))
    assert bool((clipped <= plain).all())
    assert clipped.sum() < 0.95 * plain.sum()


def test_an_all_zero_channel_decodes_to_zero() -> None:
    weight = torch.zeros(2, 9)
    scale, zero_point = uniform.grid(*uniform.minmax_range(weight), 4)
    assert torch.equal(uniform.decode(uniform.encode(weight, scale, zero_point, 4), scale, zero_point), weight)
