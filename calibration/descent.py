"""Coordinate descent: codes of rounded weights, and the levels that they stand for, moved as long as the error lessens.

Error compensation (:mod:`calibration.compensation`) rounds every entry once, for good, and those that come last have
nobody to make up for them. Going over all of them again finds what is better by now: at 2 bits a tenth of the codes
move, and the error becomes a twelfth less. Levels were selected for the weights alone; now each row's are fitted to
what its codes have become, and codes to them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from calibration import native
from calibration.compensation import compensated, damped
from dfsq.runtime import one_thread

_SWEEPS = 10
"""At most; hardly anything moves in the later ones."""
_FITS = 2
"""How often levels are fitted, and codes to them."""
_LEAST = 1e-9
"""Of an entry's own squared step: what is won has to be more than rounding."""


def fitted(
    weight: Tensor, levels: Tensor, elements: Tensor | None, hessian: Tensor, sensitivity: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Codes of ``weight`` ``(O, K)``, uint8, and their levels ``(O, k)``, of small error tr(S E H Eᵀ).

    ``levels`` are where they begin, ascending; ``elements`` ``(O, n)``, ascending: what they may be; None: they stay.
    ``hessian`` and ``sensitivity`` as for :func:`~calibration.compensation.compensated`.
    """
    descent = Descent(weight, hessian, sensitivity)
    codes = descent.codes(compensated(weight, levels, hessian, sensitivity), levels)
    if elements is None:
        return codes, levels
    for _ in range(_FITS):
        levels = descent.levels(codes, levels, elements)
        codes = descent.codes(codes, levels)
    return codes, levels


class Descent:
    """Steps down the error of a rounded weight ``(O, K)``, tr(S E H Eᵀ), damped as compensation is."""

    def __init__(self, weight: Tensor, hessian: Tensor, sensitivity: Tensor | None = None) -> None:
        """Arguments as for :func:`fitted`."""
        self._weight, self._columns = weight.double(), damped(hessian)
        self._rows = torch.eye(len(weight), dtype=torch.float64) if sensitivity is None else damped(sensitivity)

    def codes(self, codes: Tensor, levels: Tensor) -> Tensor:
        """``codes`` ``(O, K)`` among ``levels`` ``(O, k)``, moved as long as the error lessens: uint8 ``(O, K)``."""
        levels = levels.double().contiguous()
        codes = codes.clone(memory_format=torch.contiguous_format)
        edges = (levels[:, 1:] + levels[:, :-1]) / 2
        with one_thread():
            along = self._along(codes, levels)
            sweep = native.descend if native.available(along) else _sweep
            for _ in range(_SWEEPS):
                if not sweep(codes, levels, edges, self._rows, self._columns, along, _LEAST):
                    break
        return codes

    def levels(self, codes: Tensor, levels: Tensor, elements: Tensor) -> Tensor:
        """``levels`` that suit ``codes`` better, row after row: least squares, then the nearest of ``elements``.

        A row keeps its levels where that does not lessen the error, or where they would no longer ascend.
        """
        levels, elements = levels.double().clone(), elements.double()
        chosen = one_hot(codes.T.long(), levels.shape[1])  # (K, O, k)
        with one_thread():
            along = self._along(codes, levels)
            # In single precision: which way to go need not be known to the last digit.
            products = (self._columns.float() @ chosen.flatten(1).float()).view(chosen.shape)
            for i, row in enumerate(self._rows):
                own, through = chosen[:, i].double(), products[:, i].double()
                slope, curve = (row @ along) @ own, row[i] * (own.T @ through)
                ridge = torch.diag(torch.where(curve.diagonal() > 0, _LEAST * curve.diagonal(), 1.0))  # unused levels
                new = _nearest(elements[i], levels[i] + torch.linalg.solve(curve + ridge, slope))
                step = new - levels[i]
                if (new.diff() >= 0).all() and step @ (2 * slope - curve @ step) > 0:
                    levels[i] = new
                    along[i] -= through @ step
        return levels

    def _along(self, codes: Tensor, levels: Tensor) -> Tensor:
        """E H."""
        return (self._weight - levels.gather(1, codes.long())) @ self._columns


def _nearest(elements: Tensor, values: Tensor) -> Tensor:
    return elements[torch.searchsorted((elements[1:] + elements[:-1]) / 2, values)]


def _sweep(
    codes: Tensor, levels: Tensor, edges: Tensor, rows: Tensor, columns: Tensor, along: Tensor, least: float
) -> int:
    """One sweep over all columns; changes ``codes``, and ``along``, which is E H. Returns how many have moved."""
    # In numpy, which takes a fraction of the time for so little work at a time; in the same memory.
    chosen, products = codes.numpy(), along.numpy()
    points, bounds, weights, inputs = (each.numpy() for each in (levels, edges, rows, columns))
    moved, own, outputs = 0, np.arange(len(codes)), rows.diagonal().numpy()
    for j in range(codes.shape[1]):
        slope, curve = weights @ products[:, j], outputs * inputs[j, j]
        first = 0
        while True:  # all rows at once, up to the next one that moves and changes the slopes of those after it
            now = points[own, chosen[:, j]]
            better = ((now + slope / curve)[:, None] >= bounds).sum(1)
            step = points[own, better] - now
            moves = np.flatnonzero(step * (2 * slope - step * curve) > least * curve * step * step)
            moves = moves[moves >= first]
            if not len(moves):
                break
            i = moves[0]
            chosen[i, j] = better[i]
            products[i] -= step[i] * inputs[j]
            slope -= step[i] * inputs[j, j] * weights[i]
            first, moved = i + 1, moved + 1
    return moved
