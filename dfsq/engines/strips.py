"""Running a network on an image that is too large for memory, in strips of rows.

Strips cannot go through the network one after the other: quantized layers normalize by statistics of the whole map, and
attention pools over it. They advance together instead, operation by operation. The network runs unchanged on the whole
image, but every large tensor that an operation makes lies in a scratch file: convolutions and arithmetic fill it strip
by strip, other operations write into it directly. There are no seams, no receptive field to guess and no overlap to
compute twice: reductions see the whole map, and every value has the same operands as before, so the result is the
untiled one to the bit.

That holds as far as a convolution computes a row alike whatever rows are beside it, which oneDNN does for all layers of
these networks in channels_last; elsewhere the results differ by rounding in float32. An operation that is not known
here and cannot write into a given tensor (batch or layer normalization) runs whole: same result, but more memory.

Operations are intercepted by a ``TorchDispatchMode``: below modules and functions, where every computation of every
network is one of torch's operators, whether dfsq, spandrel or a quantized layer calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from dfsq.dispatch import DispatchMode
from dfsq.engines.memory import work
from dfsq.engines.scratch import Scratch
from dfsq.nested import tensors_in

_aten = torch.ops.aten
_FACTORIES = (_aten.empty.memory_format, _aten.empty_like.default, _aten.new_empty.default)
_EXACT = frozenset(
    getattr(_aten, name)
    for name in (
        *("add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_", "floor", "floor_", "minimum", "maximum", "where"),
        *("relu", "relu_", "leaky_relu", "leaky_relu_", "_prelu_kernel", "clamp", "clamp_"),
        *("clone", "copy_", "_to_copy"),
    )
)
"""Pointwise operators whose results are the same to the bit wherever in memory a value lies; unlike those of a sigmoid,
which is computed in another way for the last values of a piece than for those that fill a vector register."""
_SMALL = 20480
"""torch chooses another convolution for inputs of no more values than this, whose results differ in the last bit."""


def run_in_strips(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    rows: int,
    scratch: Scratch,
    on_work: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """``network(image)`` for ``image`` ``(1, C, H, W)`` on the CPU, ``rows`` of its rows at a time.

    The result lies in ``scratch``, which is open. ``on_work`` is called with the :func:`work
    <dfsq.engines.memory.work>` of every operation. Raises :class:`~dfsq.errors.DfsqError` where the disk is full.
    """
    with torch.no_grad(), _Strips(image, rows, scratch, on_work):
        return network(image)


class _Strips(DispatchMode):
    """Runs every operation such that large results lie in scratch files and large temporaries do not arise."""

    def __init__(self, image: Tensor, rows: int, scratch: Scratch, on_work: Callable[[int], None]) -> None:
        super().__init__()
        height, width = image.shape[-2:]
        self._strips = ceil(height / rows)
        self._large = max(height * width, _SMALL + 1)
        self._scratch = scratch
        self._on_work = on_work

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = self._run(func, args, kwargs or {})
        if sum(each.numel() for each in tensors_in(result)) >= self._large:
            self._scratch.drop()
        self._on_work(work(func, result))
        return result

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func is _aten.convolution.default:
            return self._convolution(func, *args)
        if func is _aten.pixel_shuffle.default:
            return self._pixel_shuffle(func, *args)
        if func in (_aten.amax.default, _aten.amin.default):
            return self._extreme(func, *args)
        if func.overloadpacket in _EXACT and "out" not in kwargs and kwargs.get("alpha", 1) == 1:
            return self._pointwise(func, args, kwargs)
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
        storages = {each.untyped_storage().data_ptr() for each in tensors_in((args, kwargs))}

        def moved(result: Tensor) -> Tensor:
            is_view = result.untyped_storage().data_ptr() in storages
            return result if is_view or result.numel() < self._large else self._new(result).copy_(result)

        return tree_map_only(Tensor, moved, func(*args, **kwargs))

    def _pointwise(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Cut all operands alike; those that are broadcast along the axis stay whole."""
        operands = tensors_in((args, kwargs))
        shape = torch.broadcast_shapes(*(each.shape for each in operands))  # type: ignore[no-untyped-call]
        whole = next((each for each in operands if each.shape == shape), None)
        if whole is None or shape.numel() < self._large:
            return self._whole(func, args, kwargs)
        axis = self._axis(whole)

        def strip(start: int, stop: int) -> Tensor:
            def cut(operand: Tensor) -> Tensor:
                own = axis - len(shape) + operand.dim()
                broadcast = own < 0 or operand.shape[own] == 1
                return operand if broadcast else operand.narrow(own, start, stop - start)

            result: Tensor = func(*tree_map_only(Tensor, cut, args), **tree_map_only(Tensor, cut, kwargs))
            return result

        if not func._schema.is_mutable:
            return self._fill(axis, shape[axis], strip)
        for start, stop in self._cuts(shape[axis]):
            strip(start, stop)
            self._scratch.drop()
        return args[0]

    def _extreme(self, func: Any, x: Tensor, over: Sequence[int] = (), keepdim: bool = False) -> Any:
        axis = self._axis(x) if x.numel() >= self._large else -1
        if axis not in [each % x.dim() for each in over]:
            return self._whole(func, (x, over, keepdim), {})
        parts = []
        for start, stop in self._cuts(x.shape[axis]):
            parts.append(func(x.narrow(axis, start, stop - start), over, keepdim))
            self._scratch.drop()
        return func(torch.stack(parts), (0,))

    def _pixel_shuffle(self, func: Any, x: Tensor, factor: int) -> Any:
        if x.numel() < self._large:
            return func(x, factor)
        rows = x.shape[2] * factor
        return self._fill(2, rows, lambda a, b: func(x[:, :, a // factor : b // factor], factor), factor)

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

        return self._fill(2, (height + 2 * padding - reach - 1) // stride + 1, strip)

    def _fill(self, axis: int, length: int, strip: Callable[[int, int], Tensor], multiple: int = 1) -> Tensor:
        """The tensor whose ``start:stop`` on ``axis`` is ``strip(start, stop)``."""
        result = None
        for start, stop in self._cuts(length, multiple):
            values = strip(start, stop)
            if result is None:
                result = self._new(values, [*values.shape[:axis], length, *values.shape[axis + 1 :]])
            result.narrow(axis, start, stop - start).copy_(values)
            self._scratch.drop()
        assert result is not None
        return result

    def _cuts(self, length: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
        """As many parts as the image has strips, each of ``multiple`` rows or a multiple of that."""
        step = ceil(length / multiple / self._strips) * multiple
        return ((start, min(start + step, length)) for start in range(0, length, step))

    def _axis(self, x: Tensor) -> int:
        """The outermost axis in memory that has enough rows: the rows of maps in channels_last."""
        axes = _outermost_first(x)
        return next((axis for axis in axes if x.shape[axis] >= self._strips), max(axes, key=x.shape.__getitem__))

    def _new(self, like: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """A tensor with the type and layout of ``like``, which decides how the sums of a reduction are rounded."""
        size, order = list(size or like.shape), _outermost_first(like)
        if prod(size) < self._large:
            return torch.empty_permuted(size, order, dtype=like.dtype)
        return self._scratch.tensor(size, like.dtype, order)


def _outermost_first(x: Tensor) -> list[int]:
    """Axes in the order of memory."""
    return sorted(range(x.dim()), key=x.stride, reverse=True)


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
