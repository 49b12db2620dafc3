"""The least number of steps that holds, in few tries: each of them is a whole quantization."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def least_that_holds(drop_after: Callable[[int], float], limit: float, predicted: Sequence[float]) -> int | None:
    """The fewest steps after which the drop is at most ``limit``, or None where even all of them are not enough.

    ``drop_after(k)`` is the drop in dB after k of the ``len(predicted) − 1`` steps, which does not grow with k; a k is
    asked for once. ``limit`` is 0 or more. ``predicted[k]`` is the squared error that the output is expected to have
    then, up to a factor and a constant. It tells where to look next: that never decides, and where it is wrong the
    distance is doubled until some number holds, and halved from then on.
    """
    last = len(predicted) - 1
    drops = {0: drop_after(0)}
    fails, holds = 0, 0
    if drops[0] <= limit:
        return 0
    below: int | None = None
    stride = 1
    while drops[holds] > limit:
        if holds == last:
            return None
        guess = _guess(predicted, drops, below, fails, limit)
        holds = min(max(guess, fails + stride), last)
        drops[holds] = drop_after(holds)
        if drops[holds] > limit:
            below, fails, stride = fails, holds, 2 * stride
    bisect = False
    while holds - fails > 1:
        before = holds - fails
        middle = fails + before // 2
        guess = middle if bisect else min(max(_guess(predicted, drops, fails, holds, limit), fails + 1), holds - 1)
        drops[guess] = drop_after(guess)
        if drops[guess] <= limit:
            holds = guess
        else:
            fails = guess
        bisect = not bisect and holds - fails > before / 2
    return holds


def _guess(predicted: Sequence[float], drops: dict[int, float], one: int | None, two: int, limit: float) -> int:
    """The first number of steps whose predicted error should give ``limit``, from the drops after ``one`` and ``two``.

    Without ``one``, and where the two contradict the prediction, as if no error gave no drop.
    """
    here, wanted = _excess(drops[two]), _excess(limit)
    slope = here / predicted[two] if predicted[two] > 0 else 0.0
    if one is not None and predicted[one] > predicted[two] and _excess(drops[one]) > here:
        slope = (_excess(drops[one]) - here) / (predicted[one] - predicted[two])
    return next(
        (index for index, error in enumerate(predicted) if here + slope * (error - predicted[two]) <= wanted),
        len(predicted) - 1,
    )


def _excess(drop: float) -> float:
    """Squared error that quantization adds to that of the network itself, as a share of it."""
    return float(10 ** (min(max(drop, -100.0), 100.0) / 10)) - 1
