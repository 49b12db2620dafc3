"""Running a network on an image that is too large for memory, in strips of rows.

Strips cannot go through the network one after the other: quantized layers normalize by statistics of the whole map, and
attention pools over it. They advance together instead, operation by operation. The network runs unchanged on the whole
image, but every large tensor that an operation makes lies in a scratch file. Operations that can write into a given
tensor write there; convolutions, which need room beside their operands, fill it strip by strip. There are no seams, no
receptive field to guess and no overlap to compute twice: reductions see the whole map, and every value has the same
operands as before, so the result is the untiled one to the bit.

That holds as far as a convolution computes a row alike whatever rows are beside it, which oneDNN does for all layers of
these networks in channels_last; elsewhere the results differ by rounding in float32.

Operations are intercepted by a ``TorchDispatchMode``: below modules and functions, where every computation of every
network is one of torch's operators, whether dfsq, spandrel or a quantized layer calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from dfsq.evaluation.scratch import Scratch

_aten = torch.ops.aten
_FACTORIES = (_aten.empty.memory_format, _aten.empty_like.default, _aten.new_empty.default)
_ROW_BY_ROW = (_aten.clone.default, _aten._to_copy.default, _aten.relu.default, _aten._prelu_kernel.default)
"""Operators that make a row of maps ``(N, C, H, W)`` from the same row of their first operand."""
_SMALL = 20480
"""torch chooses another convolution for inputs of no more values than this, whose results differ in the last bit."""


def run_in_strips(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    rows: int,
    scratch: Scratch,
    on_values: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """``network(image)`` for ``image`` ``(1, C, H, W)`` on the CPU, ``rows`` of its rows at a time.

    The result lies in ``scratch``, which is open. ``on_values`` is called with the number of values that every
    operation made. Raises :class:`~dfsq.errors.DfsqError` where the disk is full.
    """
    with torch.no_grad(), _Strips(image, rows, scratch, on_values):
        return network(image)


class _Strips(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation such that large results lie in scratch files and large temporaries do not arise."""

    def __init__(self, image: Tensor, rows: int, scratch: Scratch, on_values: Callable[[int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        height, width = image.shape[-2:]
        self._strips = ceil(height / rows)
        self._large = max(height * width, _SMALL + 1)
        self._scratch = scratch
        self._on_values = on_values

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = self._run(func, args, kwargs or {})
        values = sum(each.numel() for each in _tensors(result))
        if values >= self._large:
            self._scratch.drop()
        self._on_values(values)
        return result

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is _aten.convolution.default:
            return self._convolution(func, *args)
        if func is _aten.pixel_shuffle.default:
            return self._by_rows(func, args, kwargs, factor=args[1])
        if func in _ROW_BY_ROW and args[0].dim() == 4:
            return self._by_rows(func, args, kwargs)
        if func in _FACTORIES:
            return self._new(func(*args, **kwargs | {"device": "meta"}))
        with_out = _with_out(func)
        if with_out is None:
            return self._whole(func, args, kwargs)
        like = func(*tree_map_only(Tensor, _without_values, args), **tree_map_only(Tensor, _without_values, kwargs))
        if like.numel() < self._large:
            return func(*args, **kwargs)
        return with_out(*args, **kwargs, out=self._new(like))

    def _whole(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run any operation as it is; only what it leaves behind moves out of memory."""
        storages = {each.untyped_storage().data_ptr() for each in _tensors((args, kwargs))}

        def moved(result: Tensor) -> Tensor:
            is_view = result.untyped_storage().data_ptr() in storages
            return result if is_view or result.numel() < self._large else self._new(result).copy_(result)

        return tree_map_only(Tensor, moved, func(*args, **kwargs))

    def _by_rows(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], factor: int = 1) -> Any:
        """Run an operation that makes ``factor`` rows of every row of its first operand."""
        x, *options = args
        if x.numel() < self._large:
            return self._whole(func, args, kwargs)
        return self._fill(
            x.shape[2] * factor,
            lambda start, stop: func(x[:, :, start // factor : stop // factor], *options, **kwargs),
            multiple=factor,
        )

    def _convolution(self, func: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Any:
        (stride, *_), (padding, *_), (dilation, *_), transposed, *_ = options
        reach = dilation * (weight.shape[2] - 1)
        if transposed or x.dim() != 4 or x.numel() < self._large or padding > reach:
            return self._whole(func, (x, weight, bias, *options), {})
        height = x.shape[2]
        least = min(height, _SMALL // x[:, :, 0].numel() + 1)

        def strip(start: int, stop: int) -> Tensor:
            # The convolution pads every strip. Where that is not the image's border, what depends on it is cut off.
            first = max(0, min(start * stride - padding, height - least)) // stride * stride
            last = min(height, max((stop - 1) * stride - padding + reach + 1, first + least))
            result: Tensor = func(x[:, :, first:last], weight, bias, *options)
            return result[:, :, start - first // stride : stop - first // stride]

        return self._fill((height + 2 * padding - reach - 1) // stride + 1, strip)

    def _fill(self, rows: int, strip: Callable[[int, int], Tensor], multiple: int = 1) -> Tensor:
        """Maps of ``rows`` rows, of which ``strip(start, stop)`` computes some, ``multiple`` or a multiple of that."""
        step = ceil(rows / multiple / self._strips) * multiple
        result = None
        for start in range(0, rows, step):
            values = strip(start, min(start + step, rows))
            if result is None:
                result = self._new(values, rows)
            result[:, :, start : start + step].copy_(values)
            self._scratch.drop()
        assert result is not None
        return result

    def _new(self, like: Tensor, rows: int | None = None) -> Tensor:
        """A tensor with the type, shape and layout of ``like``, or with other ``rows`` than that has.

        The layout is not a matter of taste: it decides how the sums of a later reduction are rounded.
        """
        order = sorted(range(like.dim()), key=like.stride, reverse=True)
        size = [*like.shape] if rows is None else [*like.shape[:2], rows, *like.shape[3:]]
        if prod(size) < self._large:
            return torch.empty_permuted(size, order, dtype=like.dtype)
        return self._scratch.tensor(size, like.dtype, order)


@cache
def _with_out(func: Any) -> Any:
    """The form of an operator that writes into a tensor ``out``; None where there is none, or one by a detour."""
    if func._schema.is_mutable or torch.Tag.dynamic_output_shape in func.tags:
        return None
    forms = (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads())
    wanted = [*_signature(func), ("out", "Tensor")]
    return next((each for each in forms if _signature(each) == wanted and torch.Tag.generated not in each.tags), None)


def _signature(func: Any) -> list[tuple[str, str]]:
    return [(each.name, str(each.type)) for each in func._schema.arguments]


def _without_values(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]
