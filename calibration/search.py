"""The least number of steps that holds, in few tries: each of them is a whole quantization."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def least_that_holds(drop_after: Callable[[int], float], limit: float, predicted: Sequence[float]) -> int | None:
    """The fewest steps after which the drop is at most ``limit``, or None where even all of them are not enough.

    ``drop_after(k)`` is the drop in dB after k of the ``len(predicted) − 1`` steps, which does not grow with k; a k is
    asked for once. ``predicted[k]`` is the squared error that the output is expected to have then, up to a factor. It
    only tells where to look first: from there the distance doubles until one number of steps holds and a lower one
    does not, and is halved from then on.
    """
    last = len(predicted) - 1
    drop = drop_after(0)
    if drop <= limit:
        return 0
    fails, stride = 0, 1
    while True:
        if fails == last:
            return None
        guess = min(max(_guess(predicted, fails, drop, limit), fails + stride), last)
        drop = drop_after(guess)
        if drop <= limit:
            break
        fails, stride = guess, 2 * stride
    holds, stride = guess, 1
    while holds - fails > 1:
        middle = (holds + fails) // 2
        # Near a good guess first: it is rarely far off.
        guess = max(holds - stride, middle) if stride > 0 else middle
        if drop_after(guess) <= limit:
            holds, stride = guess, 2 * stride
        else:
            fails, stride = guess, 0
    return holds


def _guess(predicted: Sequence[float], steps: int, drop: float, limit: float) -> int:
    """The steps whose predicted error makes up for as much of ``drop``, which is that after ``steps``, as must be.

    A drop of d dB is an error of 10^(d/10) − 1 beside that of the network itself.
    """
    wanted = predicted[steps] * (10 ** (limit / 10) - 1) / (10 ** (min(drop, 100.0) / 10) - 1)
    return next((index for index, error in enumerate(predicted) if error <= wanted), len(predicted) - 1)
