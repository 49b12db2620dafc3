"""A model and what calibration sees of it, quantized under one plan after another."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from calibration import floats, sequential
from calibration.extremes import observe as observe_extremes
from calibration.extremes import vivid
from calibration.images import PatchStream, describe
from calibration.layers import LayerBits, Observer, adapted, make_weight, round_bias
from calibration.models import copied, device_of
from calibration.observing import observe
from calibration.planning import Plan, plan_layers, plan_operands
from calibration.progress import Progress, naming
from calibration.ranges import ChannelRanges
from calibration.sensitivity import Sensitivity, measure
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.model import Quantization, SRModel
from dfsq.networks.scope import QUANTIZABLE
from dfsq.nn import InputQuantizer, QuantizedLayer, counterpart, replace

if TYPE_CHECKING:
    from calibration.methods.planned import Planned

_MEASURED = 8
"""Images that sensitivities are measured on: those of more do no better."""


class Calibration:
    """A full-precision model, and what calibration sees of it: to be quantized under one plan after another.

    What does not depend on the plan is found once: sensitivities, what layers are given, layers quantized already.
    """

    def __init__(
        self,
        model: SRModel,
        images: PatchStream | Iterable[Tensor],
        recipe: Planned,
        progress: Progress,
        hold: bool = False,
        sensitivities: Mapping[str, Sensitivity] | None = None,
    ) -> None:
        """As for :func:`calibration.quantize`, and raises as it does; ``hold`` the images where the recipe needs them
        once. ``sensitivities``: those of another run with these images and layers; None: they are measured."""
        self.model = model
        self.recipe = recipe
        self.plan = plan_layers(model, recipe)
        """Bits of the layers that the recipe quantizes, by name."""
        self.operands = plan_operands(model, recipe)
        """Bits of attention's operands, likewise."""
        self.sensitivities: Mapping[str, Sensitivity] = {}
        """Where the recipe goes by them."""
        self.images = images
        """Batches in a list where they are held."""
        self._described = images
        self._observers: dict[str, Observer] | None = None
        self._made: dict[tuple[str, LayerBits], QuantizedLayer] = {}
        copied(model)  # what cannot be is not worth the work
        # Patches are small; what must not pile up are activations.
        if recipe.goes_by_sensitivity or recipe.goes_to_extremes or hold:
            self.images = [batch.to(device_of(model)) for batch in images]
        if recipe.goes_by_sensitivity:
            if len({batch.shape[1:] for batch in self.images}) != 1:
                raise UsageError("calibration needs images, all of one size with compensation, feedback or avg_bits")
            some = torch.cat(list(self.images))[:_MEASURED]
            self.sensitivities = sensitivities or measure(model, list(self.plan), [some], recipe.seed, progress)
            # Sums in floating point: the work of one process.
            (self.plan,) = distributed.share([self.images], partial(self._refined, progress))

    def _refined(self, progress: Progress, batches: Sequence[Tensor]) -> Plan:
        return self.recipe.refined(self, self.plan, batches, self.sensitivities, progress)

    def float_choices(
        self, plan: Plan, batches: Sequence[Tensor], sensitivities: Mapping[str, Sensitivity]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """What rounding the maps of each layer is predicted to cost the output, and what it costs not to."""
        recipe, model = self.recipe, copied(self.model)
        costs = {
            name: floats.time_in_float(model, name, each, recipe.engine)
            for name, each in floats.layer_costs(model).items()
        }
        sensitivities = recipe.prepared(model, plan, batches, sensitivities)
        return floats.rounding_errors(model, plan, batches, sensitivities, recipe, self._extremes), costs

    def without_costliest(
        self, plan: Plan, batches: Sequence[Tensor], sensitivities: Mapping[str, Sensitivity], share: float
    ) -> Plan:
        """``plan`` without the layers that do best in full precision, which take ``share`` of the time at most."""
        if not share:
            return plan
        errors, costs = self.float_choices(plan, batches, sensitivities)
        return floats.without_costliest(plan, errors, costs, share, sum(floats.layer_costs(self.model).values()))

    @cached_property
    def _extremes(self) -> Mapping[str, ChannelRanges]:
        """How far what layers are given reaches on vivid pictures, by name, where ranges are to hold that."""
        if not self.recipe.goes_to_extremes:
            return {}
        found = observe_extremes(self.model, self.plan, map(vivid, self.images))
        return {name: ranges for (name, side), ranges in found.items() if side == "inputs"}

    def quantized(self, plan: Plan, progress: Progress) -> SRModel:
        """A new model whose layers have the bits that ``plan`` says; those that it does not name stay as they are."""
        quantized = copied(self.model)
        if self.recipe.compensates:
            layers = self._one_after_the_other(quantized, progress, plan)
        else:
            layers = self._at_once(progress, plan)
        for name, module in layers.items():
            replace(quantized.net, name, module.to(device_of(self.model)))
        quantized.quantization = Quantization(self.recipe.to_dict(), describe(self._described))
        return quantized

    def _one_after_the_other(self, quantized: SRModel, progress: Progress, plan: Plan) -> Mapping[str, nn.Module]:
        """Quantized layers and operands by name, each on what those before it give; ``quantized`` is a copy of the
        model."""
        images, sensitivities = torch.cat(list(self.images)), self.sensitivities
        if self.recipe.rehearses(plan):
            sensitivities = self._reactions_as_quantized(plan, images[:_MEASURED], progress)
        sensitivities = self.recipe.prepared(quantized, plan, list(self.images), sensitivities)
        return sequential.quantize_layers(
            quantized, plan, self.operands, images, sensitivities, self.recipe, self._extremes, progress
        )

    def _reactions_as_quantized(self, plan: Plan, images: Tensor, progress: Progress) -> Mapping[str, Sensitivity]:
        """Sensitivities of the model with weights and biases as ``plan`` has them, rounded on few ``images``: inputs
        stay in full precision there, for what rounds them passes no gradients."""
        model, reacts = copied(self.model), copied(self.model)
        told = naming(progress, "first pass")
        sequential.quantize_layers(model, plan, {}, images, self.sensitivities, self.recipe, self._extremes, told)
        with torch.no_grad():
            for name in plan:
                layer, rounded = reacts.net.get_submodule(name), model.net.get_submodule(name)
                layer.weight.copy_(rounded.weight)
                if layer.bias is not None:
                    layer.bias.copy_(rounded.bias)
        return measure(reacts, list(plan), [images], self.recipe.seed, told)

    def _at_once(self, progress: Progress, plan: Plan) -> Mapping[str, nn.Module]:
        """Quantized layers and operands by name, from one pass of the model over the images."""
        recipe = self.recipe
        if self._observers is None:
            names = [*(name for name, bits in self.plan.items() if bits.a_bits), *self.operands]
            self._observers = observe(self.model, names, self.images, recipe, progress, self._extremes)
        observers = self._observers

        def choose(item: tuple[int, str]) -> QuantizedLayer:
            done, name = item
            progress("Selecting points", done, len(missing))
            layer, bits = self.model.net.get_submodule(name), plan[name]
            assert isinstance(layer, QUANTIZABLE)
            quantizer = None
            if bits.a_bits is not None and observers[name].samples:
                quantizer = recipe.input_quantizer(layer, observers[name], bits.a_bits, self.sensitivities.get(name))
            layer = adapted(layer, quantizer)
            return round_bias(counterpart(copy.deepcopy(layer), make_weight(layer.weight, bits, recipe), quantizer))

        missing = [(name, bits) for name, bits in plan.items() if (name, bits) not in self._made]
        chosen = distributed.share(list(enumerate(name for name, _ in missing)), choose)
        progress("Selecting points", len(missing), len(missing))
        self._made.update(zip(missing, chosen, strict=True))
        layers = {name: self._made[name, bits] for name, bits in plan.items()}
        return {**layers, **self._operand_quantizers(observers)}

    def _operand_quantizers(self, observers: Mapping[str, Observer]) -> Mapping[str, InputQuantizer]:
        """Quantizers of attention's operands that any image reaches, by name."""
        return {
            name: self.recipe.input_quantizer(self.model.net.get_submodule(name), observers[name], bits, None)
            for name, bits in self.operands.items()
            if observers[name].samples
        }
