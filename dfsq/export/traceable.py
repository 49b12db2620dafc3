"""Input quantizers in a form that torch.export can trace, put in their place while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from dfsq.export.subset import TracedSubset
from dfsq.model import SRModel
from dfsq.nn import SubsetQuantizer, quantized_layers

FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {SubsetQuantizer: TracedSubset}
"""What makes the traceable form of an input quantizer, by its class; others are traced as they are."""


@contextmanager
def traceable(model: SRModel) -> Iterator[None]:
    """Quantized layers of ``model`` have input quantizers that can be traced meanwhile."""
    before = [(layer, layer.input_quantizer) for _, layer in quantized_layers(model.net)]
    try:
        for layer, quantizer in before:
            form = None if quantizer is None else FORMS.get(type(quantizer))
            if form is not None:
                layer.input_quantizer = form(quantizer)  # type: ignore[assignment]
        yield
    finally:
        for layer, quantizer in before:
            layer.input_quantizer = quantizer
