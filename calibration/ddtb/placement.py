"""Where DDTB quantizes activations, at places and at inputs of layers, and weights.

EDSR: the shortcut and the output of every block, and the input of its second convolution; the first one reads what the
block is given, unrounded. RDN: what blocks and convolutions pass on, so that no layer needs a quantizer of its own; the
last layer of the global fusion reads full precision. SRResNet and all others: every input of the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from dfsq.model import SRModel
from dfsq.nn import places

_INPUTS: Mapping[str, tuple[str, ...]] = {"edsr": ("body.*.body.2",), "rdn": ()}
"""Patterns of the layers whose inputs are quantized, by architecture; others: all."""


@dataclass(frozen=True)
class Placement:
    """Names of modules in a network, in definition order."""

    places: tuple[str, ...]
    """Places that a quantizer takes."""
    inputs: tuple[str, ...]
    """Layers whose input is quantized."""
    weights: tuple[str, ...]
    """Layers whose weights are."""

    @property
    def quantizers(self) -> tuple[str, ...]:
        """Everything whose input is quantized."""
        return self.places + self.inputs


def published(model: SRModel) -> Placement:
    """Where DDTB quantizes ``model``, a full-precision network, within its body scope."""
    patterns = _INPUTS.get(model.info.architecture, ("*",))
    inputs = tuple(name for name in model.body if any(fnmatchcase(name, pattern) for pattern in patterns))
    return Placement(tuple(name for name, _ in places(model.net)), inputs, model.body)
