"""How the multiply-adds of a network divide, as people and programs read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfsq.plurals import counted

if TYPE_CHECKING:
    from dfsq.networks.multiply_adds import Shares

_LISTED = 4


def share_facts(shares: Shares, inside: str, outside: str) -> dict[str, str]:
    """Shares by caption: of the layers that ``inside`` and ``outside`` describe, and what stays in full precision."""
    weights = [percent(each) for each in shares.parameters]
    facts = {
        "multiply-adds": f"{percent(shares.inside)} {inside}, {percent(shares.outside)} {outside}",
        "their parameters": f"{weights[0]} and {weights[1]} of all",
    }
    if shares.bit_operations < 1:
        facts["bit operations"] = f"{percent(shares.bit_operations)} of those in float32"
    if shares.rest:
        names = [str(each) for each, _ in shares.rest]
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        listed = ", ".join(names[:_LISTED]) + more
        facts["full precision"] = (
            f"{counted(len(names), 'place')}, {percent(shares.full)} of the multiply-adds: {listed}"
        )
    return facts


def share_document(shares: Shares) -> dict[str, Any]:
    """The same for JSON, in 0–1."""
    return {
        "inside": shares.inside,
        "outside": shares.outside,
        "full_precision": shares.full,
        "bit_operations": shares.bit_operations,
        "parameters": {"inside": shares.parameters[0], "outside": shares.parameters[1]},
        "in_full_precision": [{"name": str(each), "share": share} for each, share in shares.rest],
    }


def percent(share: float) -> str:
    """A share of 0–1 in per cent."""
    return f"{100 * share:.1f} %"
