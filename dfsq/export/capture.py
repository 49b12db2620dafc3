"""A model as torch.export sees it, and for which sizes of images that holds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config

from dfsq.errors import DfsqError
from dfsq.model import SRModel

_EXAMPLE = (41, 37)
"""Height and width of what is traced where they are free: no multiples of anything."""
_LARGEST_MINIMUM = 128
"""Sides above it are not tried as the least that a graph takes."""


@dataclass(frozen=True)
class Captured:
    """A traced model, with what was fixed while tracing."""

    program: ExportedProgram
    batch: int | None
    """The one number of images that it takes; None: any."""
    size: tuple[int, int] | None
    """The one height and width that it takes; None: any from ``minimum`` up."""
    minimum: int
    """The shortest side that it takes."""


def capture(model: SRModel, size: tuple[int, int] | None = None) -> Captured:
    """Trace ``model`` for images of any size, or of the one ``size``, height and width.

    The number of images stays free where the network's code allows that, else it is 1. Raises
    :class:`~dfsq.errors.DfsqError` where the code decides by what it computes, so that no graph can say it.
    """
    captured = _traced(model, size, batch=None)
    if captured is None:
        captured = _traced(model, size, batch=1)
    if captured is None:
        raise _refusal(model, size, "its graph would hold for some sizes alone")
    return captured


def _traced(model: SRModel, size: tuple[int, int] | None, batch: int | None) -> Captured | None:
    """None where tracing has fixed what was to stay free."""
    height, width = size or _EXAMPLE
    # Two images, for tracing takes a dimension of 1 for fixed.
    example = torch.rand(batch or 2, 3, height, width, generator=torch.Generator().manual_seed(0))
    example = example.to(next(model.parameters()).device)
    free = {} if size else {2: Dim.AUTO, 3: Dim.AUTO}
    if batch is None:
        free[0] = Dim.AUTO
    try:
        # Otherwise sizes of 1, and maps that become that small, are taken for a network of their own.
        with torch.no_grad(), _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
            program = torch.export.export(model, (example,), dynamic_shapes=(free,), strict=False)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever tracing foreign code raises
        reason = " ".join(str(error).partition("\n")[0].split())[:200]
        raise _refusal(model, size, reason or type(error).__name__) from error
    found = next(node.meta["val"].shape for node in program.graph.nodes if node.name == "images")
    conditions = _conditions(program)
    fixed = [axis for axis in free if isinstance(found[axis], int)]
    if batch is None and (0 in fixed or not _hold(conditions, 3, height, width)):
        return None
    if fixed:
        raise _refusal(model, size, f"its graph would hold for {height}×{width} alone")
    if size:
        return Captured(program, batch, size, min(size))
    sides = (side for side in range(1, _LARGEST_MINIMUM) if _hold(conditions, batch or 2, side, side))
    return Captured(program, batch, None, next(sides, _LARGEST_MINIMUM))


def _conditions(program: ExportedProgram) -> list[str]:
    """What torch took for granted of the sizes: Python expressions in ``n``, ``h`` and ``w``.

    Those that only say that something is not 1 or 0 are left out: they tell of strides, broadcasts and paddings, for
    which graphs hold nevertheless.
    """
    code = getattr(program, "_guards_code", None) or []
    names = {0: "n", 1: "3", 2: "h", 3: "w"}
    named = [re.sub(r"L\['images'\]\.size\(\)\[(\d)\]", lambda found: names[int(found[1])], each) for each in code]
    return [each for each in named if "==" in each or ">=" in each]


def _hold(conditions: list[str], n: int, h: int, w: int) -> bool:
    known = {"n": n, "h": h, "w": w, "math": math, "torch": torch, "min": min, "max": max}
    for each in conditions:
        try:
            if not eval(each, {"__builtins__": {}}, known):
                return False
        except ZeroDivisionError:
            return False
        except Exception:  # an expression that torch writes in a way of its own; the check has the last word
            continue
    return True


def _refusal(model: SRModel, size: tuple[int, int] | None, reason: str) -> DfsqError:
    instead = "change its code" if size else "give `size` for a graph of one size, or change its code"
    return DfsqError(
        f"{model.info.architecture} cannot be exported: its code decides by values or sizes that it computes, "
        f"which a graph cannot say ({reason}); {instead}"
    )
