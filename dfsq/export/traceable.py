"""Input quantizers in a form that torch.export can trace, put in their place while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from dfsq.export.subset import TracedSubset
from dfsq.model import SRModel
from dfsq.nn import SubsetQuantizer, quantized_layers, quantized_places, replace

FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {SubsetQuantizer: TracedSubset}
"""What makes the traceable form of an input quantizer, by its class; others are traced as they are."""


@contextmanager
def traceable(model: SRModel) -> Iterator[None]:
    """Quantized layers and places of ``model`` have input quantizers that can be traced meanwhile."""
    net = model.net
    places = dict(quantized_places(net))
    inputs = {name: layer.input_quantizer for name, layer in quantized_layers(net)}
    before = {**places, **{f"{name}.input_quantizer": each for name, each in inputs.items() if each is not None}}
    try:
        for name, quantizer in before.items():
            if (form := FORMS.get(type(quantizer))) is not None:
                replace(net, name, form(quantizer))
        yield
    finally:
        for name, quantizer in before.items():
            replace(net, name, quantizer)
