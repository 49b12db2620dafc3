"""Error compensation: rounding a weight matrix column by column, each column's error passed on to those still to come.

GPTQ (Frantar et al., ICLR 2023) on whatever levels a quantizer has, uniform or subset points, with the correction of
GPTAQ (Li et al., 2025) for inputs that are themselves quantized: the layer aims at what it would have given on the
full-precision input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from calibration import native
from dfsq.quantizers.shares import MOST_EXPONENT, MOST_MULTIPLE
from dfsq.runtime import one_thread

DAMPING = 0.01
"""Added to the diagonal of the Hessian, as a share of its mean: keeps rarely used inputs from dominating."""


CORRECTION = 0.5
"""How far weights go towards those that suit the quantized inputs best, 0…1.

All the way they learn the noise of the calibration images, and images with less of it lose more than others win.
"""


_BLOCK = 144
"""Columns of a symmetric product that are taken together."""
ROUNDED_SHARES = 0.05
"""What rounding the shares of error feedback may add to the errors that are left, as a part of them."""
_TINY = 1e-12
"""Of the largest error: none is less, so that what is always the same has an order too."""
_RESOLUTION = 1e-5
"""Least variance that is told from rounding, of a square."""


class Products:
    """Sums over some rows: x̂ that a layer multiplies its weights with as quantized, and W x that it gave before.

    float32. K is the number of weights per output channel, O that of output channels.
    """

    def __init__(self, outputs: int, size: int, device: torch.device) -> None:
        self.hessian = torch.zeros(size, size, device=device)
        """``(K, K)``; below the diagonal alone."""
        self.cross = torch.zeros(outputs, size, device=device)
        """``(O, K)``."""
        self.sums = torch.zeros(outputs, device=device), torch.zeros(size, device=device)
        """Sums of W x and of x̂: ``(O,)`` and ``(K,)``."""
        self.count = 0

    def add(self, outputs: Tensor, quantized: Tensor) -> None:
        """Count rows ``(n, O)`` of outputs without their bias, and ``(n, K)`` of quantized inputs."""
        for start in range(0, quantized.shape[1], _BLOCK):
            block = quantized[:, start : start + _BLOCK]
            self.hessian[start:, start : start + _BLOCK].addmm_(quantized[:, start:].T, block)
        self.cross.addmm_(outputs.T, quantized)
        for sums, rows in zip(self.sums, (outputs, quantized), strict=True):
            sums += rows.sum(0)
        self.count += len(quantized)


class Moments:
    """Second moments of all rows, filled batch by batch: float64, on the CPU. Shapes are those of :class:`Products`."""

    def __init__(self, outputs: int, size: int) -> None:
        self._hessian = torch.zeros(size, size, dtype=torch.float64)
        self._cross = torch.zeros(outputs, size, dtype=torch.float64)
        self._sums = torch.zeros(outputs, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        self._count = 0

    def include(self, products: Products) -> None:
        """Count the rows of ``products``."""
        lower = products.hessian.cpu().tril()
        self._hessian += lower + lower.tril(-1).T
        self._cross += products.cross.cpu()
        for sums, found in zip(self._sums, products.sums, strict=True):
            sums += found.cpu()
        self._count += products.count

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        """Means of W x and of x̂."""
        outputs, quantized = self._sums
        return outputs / self._count, quantized / self._count

    def second(self, weight: Tensor, centered: bool) -> tuple[Tensor, Tensor]:
        """Hessian Σ x̂x̂ᵀ and cross moment Σ (W x)x̂ᵀ for ``weight`` W ``(O, K)``; ``centered`` about the means, which a
        bias can make up for.

        Both with a ridge that grows where there are few rows for so many weights, against learning them by heart.
        """
        hessian, cross = self._hessian, self._cross
        if centered:
            output_mean, quantized_mean = self.means
            hessian = hessian - self._count * quantized_mean.outer(quantized_mean)
            cross = cross - self._count * output_mean.outer(quantized_mean)
        excess = max(0.0, len(hessian) / self._count - DAMPING)
        variance = hessian.diagonal().mean()
        # Products are taken in float32: what a nearly constant input varies by is mostly their rounding.
        unsure = _RESOLUTION * self._hessian.diagonal().mean() - variance
        ridge = torch.maximum(excess * variance, unsure)
        identity = torch.eye(len(hessian), dtype=torch.float64)
        return hessian + ridge * identity, cross + ridge * weight.double()


def corrected(weight: Tensor, hessian: Tensor, cross: Tensor) -> Tensor:
    """Full-precision weights ``(O, K)`` on the way from ``weight`` W to those that bring their product with x̂ closest
    to W x. ``hessian`` and ``cross`` are what :meth:`Moments.second` gives."""
    own, ridge = weight.double(), _damping(hessian)
    # C H⁻¹, solved as Hᵀ Yᵀ = Cᵀ; the ridge on both sides pulls towards the weights as they are.
    solution: Tensor = torch.linalg.solve(hessian + ridge, (cross + own @ ridge).T)
    return torch.lerp(own, solution.T, CORRECTION)


def triangle(hessian: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The order in which to round, and shares ``(n, n)`` in that order, unit upper triangular.

    Rounding v in that order and passing every error on, v[j] −= shares[i, j] · error[i], keeps eᵀHe small: it is then a
    sum of squares over the errors of single roundings. The most sensitive entries come first unless ``order`` is given.
    """
    order, factor = _factor(hessian, order)
    return order, factor / factor.diagonal()[:, None]


def passed_on(hessian: Tensor, errors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`triangle`, in an order that suits entries whose roundings err differently: mean squares ``(n,)``; and
    the steps that the shares are multiples of, as :class:`~dfsq.nn.ErrorFeedback` takes them.

    An error counts as much as those after it cannot make up for. So the last is the entry that costs least if nothing
    makes up for it, the one before it that which costs least beside the last, and so on.
    """
    spread = errors.double().clamp_min(max(float(errors.max()), _TINY) * _TINY).sqrt()
    rest = damped(hessian) * spread[:, None] * spread
    backwards = []
    for _ in range(len(rest)):
        backwards.append(int(rest.diagonal().argmin()))
        column = rest[:, backwards[-1]].clone()
        rest -= column.outer(column) / column[backwards[-1]]
        rest[backwards[-1], backwards[-1]] = torch.inf
    order, factor = _factor(hessian, torch.tensor(backwards[::-1]))
    shares, steps = factor / factor.diagonal()[:, None], _steps(factor.diagonal(), spread[order])
    return order, _stepped(shares, steps), steps


def _steps(diagonal: Tensor, spread: Tensor) -> Tensor:
    """Steps of shares, ``(2, n)``, powers of two: the coarsest that add :data:`ROUNDED_SHARES` to the weighed errors.

    Those are Σ (sᵢ / uᵢ)², with the ``spread`` s of the errors and the ``diagonal`` u of the factor. A share with a
    step of rⱼcᵢ adds (rⱼcᵢ sᵢ / uⱼ)² / 12; bits are fewest where each of the n² / 2 adds the same.
    """
    weighed = (spread / diagonal).square().mean()
    rows = diagonal * (24 * ROUNDED_SHARES / len(diagonal) * weighed).sqrt()
    return 2 ** torch.stack([rows, 1 / spread]).log2().round().clamp(-MOST_EXPONENT, MOST_EXPONENT)


def _stepped(shares: Tensor, steps: Tensor) -> Tensor:
    """``shares``, unit upper triangular, on multiples of ``steps``. What rounding one does, those behind it in its row
    make up for: it is an error there as others are."""
    result = shares.clone()
    for j in range(1, len(shares)):
        exact, step = result[:j, j].clone(), steps[0, j] * steps[1, :j]
        result[:j, j] = (exact / step).round().clamp(-MOST_MULTIPLE, MOST_MULTIPLE) * step
        result[:j, j + 1 :] -= (exact - result[:j, j]).outer(shares[j, j + 1 :])
    return result


def weights_of_errors(hessian: Tensor) -> Tensor:
    """What the squared error of each single rounding weighs in eᵀHe where errors are passed on: ``(n,)``."""
    order, factor = _factor(hessian)
    return torch.empty_like(factor.diagonal()).index_copy_(0, order, factor.diagonal() ** -2)


def _factor(hessian: Tensor, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The order of rounding, and U in that order, upper triangular, with UᵀU the inverse of the damped Hessian."""
    if order is None:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    permuted = damped(hessian)[order][:, order]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(permuted))
    return order, torch.linalg.cholesky(inverse, upper=True)


def compensated(weight: Tensor, levels: Tensor, hessian: Tensor, sensitivity: Tensor | None = None) -> Tensor:
    """Round ``weight`` ``(O, K)`` to ``levels`` ``(O, k)``, ascending, so that the error of W x̂ stays harmless.

    ``hessian``: Σ x̂x̂ᵀ, ``(K, K)``. ``sensitivity``: how much errors of the outputs matter, ``(O, O)``; None: equally.
    The error tr(S E H Eᵀ) is a quadratic form in all entries of E, whose triangle is the Kronecker product of those of
    S and H: an entry's error is passed on to all outputs and inputs behind it. Returns codes, uint8 ``(O, K)``.
    """
    with one_thread():
        return _rounded(weight, levels, hessian, sensitivity)


def _rounded(weight: Tensor, levels: Tensor, hessian: Tensor, sensitivity: Tensor | None) -> Tensor:
    column_order, to_columns = triangle(hessian)
    if sensitivity is None:
        sensitivity = torch.eye(len(weight), dtype=hessian.dtype)
    row_order, to_rows = triangle(sensitivity)
    remaining = weight.double()[row_order][:, column_order]
    levels = levels.double()[row_order]
    edges = (levels[:, 1:] + levels[:, :-1]) / 2
    ways = native.compensate if native.available(remaining) else _along_anti_diagonals
    codes = ways(remaining, levels, edges, to_rows, to_columns)
    result = torch.empty_like(codes)
    result[row_order[:, None], column_order] = codes
    return result


def _along_anti_diagonals(
    remaining: Tensor, levels: Tensor, edges: Tensor, to_rows: Tensor, to_columns: Tensor
) -> Tensor:
    """Codes of ``remaining``, which this changes. Entries on an anti-diagonal do not depend on one another."""
    codes = torch.empty_like(remaining, dtype=torch.uint8)
    height, width = remaining.shape
    for diagonal in range(height + width - 1):
        rows = torch.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        columns = diagonal - rows
        values = remaining[rows, columns]
        code = (values[:, None] >= edges[rows]).sum(1)
        errors = values - levels[rows, code]
        remaining -= (to_rows[rows] * errors[:, None]).T @ to_columns[columns]
        codes[rows, columns] = code.to(torch.uint8)
    return codes


def damped(hessian: Tensor) -> Tensor:
    """``hessian`` ``(n, n)`` plus :data:`DAMPING` of its mean diagonal on the diagonal: positive definite, float64."""
    return hessian.double() + _damping(hessian.double())


def _damping(hessian: Tensor) -> Tensor:
    mean = float(hessian.diagonal().mean()) or 1.0  # inputs that are never anything but 0, outputs that nobody uses
    return torch.eye(len(hessian), dtype=hessian.dtype) * (DAMPING * mean)
