"""Recipes of 0.1, which named no method: one flat list of choices, some of which meant nothing beside others."""

from __future__ import annotations

from typing import Any

from calibration.recipes.choice import shown
from calibration.recipes.recipe import METHODS, Recipe
from dfsq.errors import UsageError

_DEFAULTS = {
    "weights": "subset",
    "compensation": False,
    "feedback": False,
    "avg_bits": None,
    "granularity": "channel",
    "selector": "exact",
    "headroom": 1.5,
    "outside_bits": 8,
    "scope": "body",
    "float_share": 0.0,
    "target": "openvino",
    "w_bits": 4,
    "a_bits": 4,
}
"""What a file meant that left it out, where methods now differ."""
_METHODS = ("integers", "fixed-ranges", "sequential", "one-pass")
"""The methods that there were. Where several have a choice, the last tells what a file may say without effect."""
_REFUSED = {"feedback": False, "avg_bits": None, "target": "openvino"}
"""Choices that were refused where they meant nothing, unless they had these values."""


def read(values: dict[Any, Any]) -> type[Recipe]:
    """The method that a file with ``values`` means; they are left with what it can be told.

    What was ignored is dropped. Raises :class:`UsageError` for what could not be even then.
    """
    for key, default in _DEFAULTS.items():
        values.setdefault(key, default)
    method = _method(values)
    choices = method.choices()
    if values["scope"] == "body" and "attention" in choices["scope"].known:
        del values["scope"]  # all that there was: no network had operands of attention then
    known = {key: each for other in _METHODS for key, each in METHODS[other].choices().items()} | dict(choices)
    for key in [key for key in values if key in known]:
        known[key].check(values[key])
        means_nothing = key not in choices or not choices[key].applies(values)
        if means_nothing and values[key] == _REFUSED.get(key, values[key]):
            del values[key]
    return method


def _method(values: dict[Any, Any]) -> type[Recipe]:
    """The method; what alone told of it is taken out of ``values``."""
    granularity = values.pop("granularity")
    if granularity not in ("channel", "tensor"):
        raise UsageError(f"unknown granularity {shown(granularity)}; known: channel, tensor")
    if values["selector"] == "equalized":
        if granularity != "tensor" or values["weights"] != "symmetric":
            raise UsageError("selector equalized makes integers: it needs granularity tensor and weights symmetric")
        del values["selector"], values["weights"]
        if values["headroom"] is None:  # a fixed range always ends somewhere
            values["headroom"] = 1.0
        return METHODS["integers"]
    if granularity == "tensor":
        return METHODS["fixed-ranges"]
    return METHODS["sequential" if values["compensation"] is True else "one-pass"]
