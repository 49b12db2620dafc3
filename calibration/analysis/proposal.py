"""What to do about the layers that hurt: the fewest of them that give back half of what is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calibration.methods.planned import Planned
from calibration.progress import Progress
from calibration.recipes.recipe import MAX_BITS, METHODS

NEGLIGIBLE = 0.01
"""Drops that are not worth anything, dB."""
_MOST = 4
"""One layer in so many may be raised: beyond that the bits of all are too few."""


@dataclass(frozen=True)
class Proposal:
    """What to change in a recipe."""

    changes: Mapping[str, Any]
    """Choices of the recipe and their values; ``max_drop`` is none of them, but what it is called."""
    layers: tuple[str, ...]
    """Those that would be raised; none where that is left to ``max_drop``."""
    drop: float
    """What would then be lost on the same images, dB, where the others stay as they are."""


def propose(
    bits: Mapping[str, int],
    count: int,
    drop: float,
    drop_without: Callable[[Sequence[str]], float],
    recipe: Mapping[str, Any],
    progress: Progress,
) -> Proposal | None:
    """The changes to ``recipe``, as an artifact holds it, that halve ``drop``, dB; None where it is negligible.

    ``bits``: of layers whose precision is worth raising, of ``count``, the worst first. ``drop_without``: the drop with
    some in full precision.
    """
    if not NEGLIGIBLE < drop < math.inf:  # pictures of one colour have no finite scores
        return None
    method = METHODS.get(recipe.get("method", ""))
    planned = method is not None and issubclass(method, Planned)
    found = None
    groups = _groups(min(len(bits), max(1, count // _MOST)))
    for done, size in enumerate(groups):
        progress("Trying proposals", done, len(groups))
        worst = tuple(bits)[:size]
        found = Proposal(_raised({name: bits[name] for name in worst}, recipe), worst, drop_without(worst))
        if found.drop <= drop / 2:
            break
    progress("Trying proposals", len(groups), len(groups))
    if (found is None or found.drop > drop / 2) and planned and recipe.get("avg_bits") is None:
        return Proposal({"max_drop": float(f"{drop / 2:.1g}")}, (), float(f"{drop / 2:.1g}"))
    return found


def _groups(most: int) -> list[int]:
    """How many layers to try: 1, 2, 4 … up to ``most``."""
    return [1 << power for power in range(most.bit_length())]


def _raised(bits: Mapping[str, int], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """``recipe`` with layers at 8 bits, by name; in full precision, where they have these already."""
    raised = tuple((name, MAX_BITS) for name, own in bits.items() if own < MAX_BITS)
    skipped = tuple(name for name, own in bits.items() if own >= MAX_BITS)
    earlier = tuple((pattern, own) for pattern, own in recipe.get("layer_bits", ()))
    changes = {"layer_bits": (*earlier, *raised)} if raised else {}
    return changes | ({"skip": (*recipe.get("skip", ()), *skipped)} if skipped else {})
