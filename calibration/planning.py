"""Which layers are quantized, and to how many bits."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from calibration import floats
from calibration.layers import LayerBits
from calibration.recipes.recipe import MAX_BITS
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.networks.scope import quantizable_layers, shifts_colours, without_maps
from dfsq.nn import operands

if TYPE_CHECKING:
    from calibration.methods.planned import Planned

Plan = Mapping[str, LayerBits]
"""Bits of the layers that are quantized, by name."""
MIN_OUTSIDE = 1000
"""Layers outside the body scope with fewer weights stay as they are: nothing would be saved."""


def plan_layers(model: SRModel, recipe: Planned) -> Plan:
    """Which layers ``recipe`` quantizes, and to how many bits, in the order of the network's definition.

    Raises :class:`UsageError` for a pattern that matches no quantizable layer, and where there is none to quantize.
    """
    layers = quantizable_layers(model.net)
    known = [*layers, *(name for name, _ in operands(model.net))]
    for pattern in (*recipe.skip, *(pattern for pattern, _ in recipe.layer_bits)):
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UsageError(
                f"pattern {pattern!r} matches no layer; layers are named like {', '.join(list(layers)[:4])}"
            )
    mapless = without_maps(model.net, model.info.channels) if recipe.scope == "all" else set()
    negligible = floats.negligible(model) if recipe.for_engines else set()
    plan: dict[str, LayerBits] = {}
    for name, layer in layers.items():
        if any(fnmatchcase(name, pattern) for pattern in recipe.skip):
            continue
        own = [bits for pattern, bits in recipe.layer_bits if fnmatchcase(name, pattern)]
        if own:
            plan[name] = LayerBits(own[-1], own[-1])
        elif name in model.body and name not in negligible:
            plan[name] = LayerBits(recipe.w_bits, recipe.a_bits)
        elif name in mapless | negligible and not shifts_colours(layer):
            plan[name] = LayerBits(recipe.outside_bits or MAX_BITS, None, outside=True)
        elif recipe.scope == "all" and not shifts_colours(layer):
            bits = (recipe.outside_bits or recipe.w_bits, recipe.outside_bits or recipe.a_bits)
            plan[name] = LayerBits(*bits, outside=recipe.outside_bits is not None)
        elif recipe.outside_bits is not None and layer.weight.numel() >= MIN_OUTSIDE:
            plan[name] = LayerBits(recipe.outside_bits, None, outside=True)
    if not any(bits.a_bits for bits in plan.values()):
        raise UsageError("no layer would be quantized: none is in body scope; name some by `body`, or use `scope` all")
    return plan


def plan_operands(model: SRModel, recipe: Planned) -> Mapping[str, int]:
    """Bits of those operands of attention's products that ``recipe`` quantizes, by name."""
    if not recipe.quantizes_operands:
        return {}
    bits = {name: recipe.a_bits for name, _ in operands(model.net)}
    for pattern, own in recipe.layer_bits:
        bits.update({name: own for name in bits if fnmatchcase(name, pattern)})
    return {name: own for name, own in bits.items() if not any(fnmatchcase(name, each) for each in recipe.skip)}
