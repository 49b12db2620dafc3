"""What was quantized of a network, by name, and networks in which some of it is exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from calibration.models import copied
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import InputQuantizer, QuantizedLayer, quantized_layers, quantized_places, replace

Part = QuantizedLayer | InputQuantizer
"""A quantized layer, or what quantizes a place between layers."""


def quantized_parts(model: SRModel) -> Mapping[str, Part]:
    """What is quantized of ``model``, by name in definition order."""
    found: dict[str, Part] = {**dict(quantized_layers(model.net)), **dict(quantized_places(model.net))}
    return {name: found[name] for name, _ in model.net.named_modules() if name in found}


def quantizer_of(part: Part) -> InputQuantizer | None:
    """What quantizes the input of ``part``; None where that stays in full precision."""
    return part if isinstance(part, InputQuantizer) else part.input_quantizer


def check_twins(full: SRModel, quantized: SRModel) -> None:
    """Raise :class:`UsageError` where ``quantized`` is not made of ``full``, or not quantized."""
    if quantized.quantization is None:
        raise UsageError("there is nothing to analyze: the model is in full precision; quantize it first")
    if full.quantization is not None:
        raise UsageError("the reference is quantized; give the checkpoint in full precision")
    modules = dict(full.net.named_modules())
    for name, part in quantized_parts(quantized).items():
        weight = getattr(part, "quantized_weight", None)
        other = getattr(modules.get(name), "weight", None)
        if name not in modules or (weight is not None and (other is None or other.shape != weight.codes.shape)):
            raise UsageError(f"the reference is another network: it has no {name} like that of the quantized one")


class Exchange:
    """A copy of a model in which modules can stand in for others for a while."""

    def __init__(self, model: SRModel, others: Mapping[str, nn.Module]) -> None:
        """``others``: what may stand in, by name."""
        self.model = copied(model)
        self._others = others

    @contextmanager
    def of(self, names: Iterable[str]) -> Iterator[SRModel]:
        """The model with the others called ``names``."""
        own = {name: self.model.net.get_submodule(name) for name in names}
        try:
            for name in own:
                replace(self.model.net, name, self._others[name])
            yield self.model
        finally:
            for name, module in own.items():
                replace(self.model.net, name, module)
