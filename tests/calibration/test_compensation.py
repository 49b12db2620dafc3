from collections.abc import Iterator
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from calibration import OnePass, Sequential, quantize
from calibration.compensation import (
    DAMPING,
    ROUNDED_SHARES,
    Moments,
    Products,
    compensated,
    corrected,
    passed_on,
    triangle,
)
from calibration.given import rows_of
from calibration.weights import quantize_weight
from dfsq.errors import UsageError
from dfsq.model import NetworkInfo, SRModel
from dfsq.nn import ErrorFeedback, QuantizedConv2d
from dfsq.quantizers.universal import UniversalSet


def layer(outputs: int = 6, inputs: int = 12, rows: int = 500) -> tuple[Tensor, Tensor]:
    """Random weights, and rows whose columns are correlated as neighbouring pixels are."""
    weight = torch.randn(outputs, inputs)
    x = torch.randn(rows, inputs) @ torch.randn(inputs, inputs) + torch.randn(rows, 1) * 3
    return weight, x


def second(weight: Tensor, x: Tensor, y: Tensor, centered: bool = False) -> tuple[Tensor, Tensor]:
    """Second moments of outputs before, of ``x``, and inputs as quantized, ``y``."""
    found = Moments(*weight.shape)
    for one, other in zip(x.split(100), y.split(100), strict=True):
        products = Products(*weight.shape, x.device)
        products.add(one @ weight.T, other)
        found.include(products)
    return found.second(weight, centered)


@pytest.mark.parametrize("method", ["minmax", "mse", "subset"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_compensation_lowers_the_error_of_the_output(method: str, bits: int) -> None:
    weight, x = layer(inputs=96)
    rounded = quantize_weight(weight, method, bits, UniversalSet())
    hessian, _ = second(weight, x, x)
    codes = compensated(weight, rounded.levels(), hessian)
    better = rounded.levels().gather(1, codes.long())
    plain, improved = ((x @ (each - weight).T).square().sum() for each in (rounded.dequantize(), better))
    assert improved < 0.8 * plain


def test_codes_equal_a_dense_reference() -> None:
    # The reference solves, after every rounded column, for the best remaining columns given those that are fixed.
    weight, x = layer(outputs=3, inputs=6)
    levels = torch.linspace(-3, 3, 8).expand(3, -1).contiguous()
    hessian, _ = second(weight, x, x)
    h = hessian + torch.eye(6, dtype=torch.float64) * DAMPING * hessian.diagonal().mean()
    order = hessian.diagonal().argsort(descending=True).tolist()
    expected = torch.zeros(3, 6, dtype=torch.uint8)
    for row in range(3):
        target, current = weight[row].double(), weight[row].double().clone()
        for position, column in enumerate(order):
            code = int((levels[row].double() - current[column]).abs().argmin())
            expected[row, column] = code
            current[column] = levels[row, code]
            fixed, free = order[: position + 1], order[position + 1 :]
            if free:
                error = current[fixed] - target[fixed]
                current[free] = target[free] - torch.linalg.solve(h[free][:, free], h[free][:, fixed] @ error)
    assert torch.equal(compensated(weight, levels, hessian), expected)


def test_sensitive_outputs_are_compensated_for_by_the_others() -> None:
    weight, x = layer(outputs=8, inputs=64)
    mixing = torch.randn(4, 8)  # what follows mixes eight outputs into four values
    rounded = quantize_weight(weight, "subset", 4, UniversalSet())
    hessian, _ = second(weight, x, x)
    errors = []
    for sensitivity in (None, (mixing.T @ mixing).double()):
        codes = compensated(weight, rounded.levels(), hessian, sensitivity)
        errors.append((x @ (rounded.levels().gather(1, codes.long()) - weight).T @ mixing.T).square().sum())
    assert errors[1] < 0.5 * errors[0]


def test_output_and_input_shares_equal_a_dense_reference() -> None:
    # One GPTQ run over all entries of the matrix as one long row, with the Kronecker product as its Hessian.
    weight, x = layer(outputs=3, inputs=5)
    levels = torch.linspace(-3, 3, 8).expand(3, -1).contiguous()
    hessian, _ = second(weight, x, x)
    sensitivity = torch.randn(3, 3).double()
    sensitivity = sensitivity @ sensitivity.T
    (columns, to_columns), (rows, to_rows) = triangle(hessian), triangle(sensitivity)
    shares = torch.kron(to_rows, to_columns)
    values = weight.double()[rows][:, columns].flatten()
    expected = torch.zeros(3, 5, dtype=torch.uint8)
    for index in range(15):
        row, column = int(rows[index // 5]), int(columns[index % 5])
        code = int((levels[row].double() - values[index]).abs().argmin())
        expected[row, column] = code
        values -= (values[index] - levels[row, code].double()) * shares[index]
    assert torch.equal(compensated(weight, levels, hessian, sensitivity), expected)


def cost(hessian: Tensor, errors: Tensor, order: tuple[int, ...]) -> float:
    """What rounding in this order costs: an error weighs what those after it cannot make up for (least squares)."""
    ridge = torch.eye(len(hessian), dtype=hessian.dtype) * DAMPING * hessian.diagonal().mean()
    total, damped = 0.0, hessian + ridge
    for place, entry in enumerate(order):
        after = torch.tensor(order[place + 1 :], dtype=torch.long)
        taken = damped[entry, after] @ torch.linalg.solve(damped[after][:, after], damped[after, entry])
        total += float(errors[entry] * (damped[entry, entry] - taken))
    return total


@pytest.mark.parametrize("seed", range(6))
def test_the_order_suits_entries_that_err_differently(seed: int) -> None:
    torch.manual_seed(seed)
    mixing = torch.randn(5, 5).double() * torch.logspace(0, -1.5, 5)
    hessian, errors = mixing.T @ mixing, torch.logspace(-4, 0, 5).double()[torch.randperm(5)]
    order, _, _ = passed_on(hessian, errors)
    costs = sorted(cost(hessian, errors, each) for each in permutations(range(5)))
    found = cost(hessian, errors, tuple(order.tolist()))
    assert found < costs[len(costs) // 20]  # among the best of all orders
    assert found <= cost(hessian, errors, tuple(triangle(hessian)[0].tolist())) + 1e-12


def test_entries_that_never_err_have_an_order_too() -> None:
    order, shares, _ = passed_on(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    assert sorted(order.tolist()) == [0, 1, 2] and shares.isfinite().all()


@pytest.mark.parametrize("channels", [20, 60])
@pytest.mark.parametrize("seed", range(4))
def test_rounding_shares_costs_what_it_may_however_channels_are_scaled(seed: int, channels: int) -> None:
    """Against errors that are drawn, and shares that are not rounded."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(2 * channels, channels, generator=generator, dtype=torch.float64)
    mixing[:, ::2] += 2 * torch.randn(2 * channels, 1, generator=generator, dtype=torch.float64)
    scale = 10 ** torch.rand(channels, generator=generator, dtype=torch.float64)
    errors = scale * (0.1 + torch.rand(channels, generator=generator, dtype=torch.float64))
    hessian = mixing.T @ mixing / scale / scale[:, None]
    order, shares, steps = passed_on(hessian, errors.square())
    exact = triangle(hessian, order)[1]
    assert torch.equal(ErrorFeedback(order, shares, steps).shares.T, shares.triu(1).float())
    made = torch.randn(4000, channels, generator=generator, dtype=torch.float64) * errors[order]
    damped = (hessian + DAMPING * hessian.diagonal().mean() * torch.eye(channels))[order][:, order]
    # What rounding errs by in the end: in a channel its own, and what those before it have handed on.
    lost = [torch.einsum("ni,ij,nj->", each, damped, each) for each in (made @ exact, made @ shares)]
    assert 0.5 * ROUNDED_SHARES < lost[1] / lost[0] - 1 < 1.5 * ROUNDED_SHARES


def test_where_nothing_matters_nothing_is_passed_on() -> None:
    order, shares = triangle(torch.zeros(4, 4, dtype=torch.float64))
    assert order.tolist() == [0, 1, 2, 3]
    assert torch.equal(shares, torch.eye(4, dtype=torch.float64))


def test_corrected_weights_are_half_way_to_the_least_squares_solution() -> None:
    weight, x = layer(rows=3000)
    y = x + torch.randn_like(x)
    found = corrected(weight, *second(weight, x, y)).float()
    best = torch.linalg.lstsq(y, x @ weight.T).solution.T
    twice_as_far = 2 * found - weight
    before, after, least = ((y @ each.T - x @ weight.T).square().sum() for each in (weight, twice_as_far, best))
    assert least <= after < 1.05 * least < 0.8 * before


def test_inputs_as_they_were_leave_the_weights_alone() -> None:
    weight, x = layer()
    torch.testing.assert_close(corrected(weight, *second(weight, x, x, centered=True)).float(), weight)


def test_centered_moments_are_covariances() -> None:
    weight, x = layer(rows=2000)
    hessian, _ = second(weight, x, x, centered=True)
    torch.testing.assert_close(hessian.float() / (len(x) - 1), x.T.cov(), rtol=1e-3, atol=1e-3)


def test_few_rows_do_not_teach_many_weights() -> None:
    weight, x = layer(inputs=96, rows=100)
    y = x + torch.randn_like(x)
    found = corrected(weight, *second(weight, x, y)).float()
    _, unseen = layer(inputs=96)
    noisy = unseen + torch.randn_like(unseen)
    before, after = ((noisy @ each.T - unseen @ weight.T).square().sum() for each in (weight, found))
    assert after < 1.5 * before


def batches(seed: int = 3) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):
        yield torch.rand(2, 3, 24, 24, generator=generator)


def difference(model: SRModel, quantized: SRModel) -> float:
    x = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(8))
    with torch.inference_mode():
        return float((quantized(x) - model(x)).square().mean())


@pytest.mark.parametrize("bits", [2, 4])
def test_sequential_calibration_comes_closer_on_images_it_has_not_seen(small_model: SRModel, bits: int) -> None:
    plain, compensating = (
        quantize(small_model, batches(), each(w_bits=bits, a_bits=bits)) for each in (OnePass, Sequential)
    )
    assert difference(small_model, compensating) < difference(small_model, plain)


@pytest.mark.parametrize("bits", [2, 4])
def test_error_feedback_comes_closer_still(small_model: SRModel, bits: int) -> None:
    # In one pass: what a second gains in real networks, docs/accuracy.md, one of random weights does not.
    compensating, feeding = (
        sum(
            difference(small_model, quantize(small_model, batches(seed), Sequential(passes=1, **chosen)))
            for seed in range(3)
        )
        for chosen in ({"w_bits": bits, "a_bits": bits, "feedback": each} for each in (False, True))
    )
    assert feeding < compensating


class Recurrent(nn.Module):
    """One convolution three times, as CARN-M shares them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.shared = nn.Conv2d(6, 6, 3, padding=1)
        self.never = nn.Conv2d(6, 6, 3)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for factor in (1.0, 3.0, 9.0):  # each call gives another range
            x = x + self.shared(factor * x).relu()
        return self.last(x)  # type: ignore[no-any-return]


def test_a_shared_layer_is_quantized_for_all_its_inputs_and_an_unused_one_all_the_same() -> None:
    net = Recurrent()
    model = SRModel(net, NetworkInfo("none", {}, 1, 1.0), ("shared", "never"))
    seen: list[float] = []
    handle = net.shared.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].abs().max().item()))
    list(map(model, batches()))
    handle.remove()
    result = quantize(model, batches(), Sequential(w_bits=4, a_bits=8, headroom=1.0)).net
    assert float(result.shared.input_quantizer.limit.max()) > 0.5 * max(seen)
    assert result.never.quantized_weight.bits == 4
    assert isinstance(result.shared, QuantizedConv2d)


def test_groups_and_strides_are_unfolded_as_the_convolution_does() -> None:
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2, bias=False)
    x = torch.rand(1, 4, 19, 18)
    outputs = [rows @ weight.flatten(1).T for rows, weight in zip(rows_of(conv, x), conv.weight.chunk(2), strict=True)]
    expected = conv(x)[:, :, ::3, ::3].permute(0, 2, 3, 1).reshape(-1, 6)  # one position in nine
    torch.testing.assert_close(torch.cat(outputs, dim=1), expected)


@pytest.mark.parametrize("images", [[], [torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 20)]])
def test_compensation_needs_images_of_one_size(small_model: SRModel, images: list[Tensor]) -> None:
    with pytest.raises(UsageError, match="all of one size"):
        quantize(small_model, images, Sequential())
