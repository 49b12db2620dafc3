"""Quantization of a whole model: observe, select, replace."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from calibration import floats, folding, outputs, sequential
from calibration.allocation import mixed_precision
from calibration.extremes import observe as observe_extremes
from calibration.extremes import vivid
from calibration.images import PatchStream
from calibration.layers import (
    LayerBits,
    Observer,
    adapted,
    make_input_quantizer,
    make_observer,
    make_weight,
    round_bias,
)
from calibration.progress import Progress
from calibration.ranges import ChannelRanges
from calibration.recipe import MAX_BITS, Recipe
from calibration.sensitivity import Sensitivity, measure
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.model import Quantization, SRModel
from dfsq.networks.own import check_wrapped
from dfsq.networks.scope import QUANTIZABLE, quantizable_layers, shifts_colours, without_maps
from dfsq.nn import QuantizedLayer, counterpart, quantized_layers, replace

Plan = Mapping[str, LayerBits]
"""Bits of the layers that are quantized, by name."""
MIN_OUTSIDE = 1000
"""Layers outside the body scope with fewer weights stay as they are: nothing would be saved."""


def quantize(
    model: SRModel,
    images: PatchStream | Iterable[Tensor],
    recipe: Recipe | None = None,
    progress: Progress = lambda what, done, total: None,
) -> SRModel:
    """Quantize a full-precision ``model`` and return a new one; ``model`` itself is not changed.

    ``images`` are LR batches ``(N, 3, H, W)`` in 0–1, seen once, one batch at a time: a :class:`PatchStream` or any
    iterable. The network sees them one by one, and nothing but counts and maxima is kept: how they are cut into batches
    and in which order they come does not matter to the bit. Compensation, feedback and mixed precision hold all of them
    at once, need one size, and go by their order. Several processes (:mod:`dfsq.distributed`) give what one gives.
    Raises :class:`UsageError` for patterns in the recipe that match no layer, a model that is quantized already or
    cannot be copied, a network that :func:`dfsq.wrap` has to wrap first, no images, or images of several sizes where
    they need one.
    """
    run = Calibration(model, images, recipe or Recipe(), progress)
    return run.quantized(run.plan, progress)


class Calibration:
    """A full-precision model, and what calibration sees of it: to be quantized under one plan after another.

    What does not depend on the plan is found once: sensitivities, what layers are given, layers quantized already.
    """

    def __init__(
        self,
        model: SRModel,
        images: PatchStream | Iterable[Tensor],
        recipe: Recipe,
        progress: Progress,
        hold: bool = False,
    ) -> None:
        """As for :func:`quantize`, and raises as it does; ``hold`` the images where the recipe needs them once."""
        check_wrapped(model, "quantize")
        if model.quantization is not None:
            raise UsageError("the model is quantized already; start from the full-precision checkpoint")
        self.model = model
        self.recipe = recipe
        self.plan = plan_layers(model, recipe)
        """Bits of the layers that the recipe quantizes, by name."""
        self.sensitivities: Mapping[str, Sensitivity] = {}
        """Where the recipe goes by them."""
        self.images = images
        """Batches in a list where they are held."""
        self._described = images
        self._observers: dict[str, Observer] | None = None
        self._made: dict[tuple[str, LayerBits], QuantizedLayer] = {}
        _copied(model)  # what cannot be is not worth the work
        self._by_sensitivity = bool(recipe.compensation or recipe.feedback or recipe.avg_bits or recipe.float_share)
        # On one grid for all channels of ONNX Runtime's maps the wider steps cost more than colours cut off.
        self._goes_to_extremes = recipe.selector == "equalized" and recipe.target == "openvino"
        # Patches are small; what must not pile up are activations.
        if self._by_sensitivity or self._goes_to_extremes or hold:
            self.images = [batch.to(_device(model)) for batch in images]
        if self._by_sensitivity:
            if len({batch.shape[1:] for batch in self.images}) != 1:
                raise UsageError("calibration needs images, all of one size with compensation, feedback or avg_bits")
            # Sums in floating point: the work of one process.
            ((self.sensitivities, self.plan),) = distributed.share([self.images], partial(self._weigh, progress))

    def _weigh(self, progress: Progress, batches: Sequence[Tensor]) -> tuple[Mapping[str, Sensitivity], Plan]:
        """How the output reacts to errors in the layers, and the plan that follows from it."""
        model, recipe, plan = self.model, self.recipe, self.plan
        sensitivities = measure(model, list(plan), batches, recipe.seed, progress)
        if recipe.target == "onnxruntime":
            plan = outputs.with_outputs(model, plan, batches[0][:1])
        if recipe.avg_bits:
            progress("Allocating bits", 0, 0)
            plan = mixed_precision(model, plan, batches, sensitivities, recipe)
        if recipe.float_share:
            errors, costs = self.float_choices(plan, batches, sensitivities)
            total = sum(floats.layer_costs(model).values())
            plan = floats.without_costliest(plan, errors, costs, recipe.float_share, total)
        return sensitivities, plan

    def float_choices(
        self, plan: Plan, batches: Sequence[Tensor], sensitivities: Mapping[str, Sensitivity]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """What rounding the maps of each layer is predicted to cost the output, and what it costs not to."""
        model, target = self.model, self.recipe.target
        costs = {
            name: floats.time_in_float(model, name, each, target) for name, each in floats.layer_costs(model).items()
        }
        if target == "onnxruntime":
            model = _copied(model)
            sensitivities = folding.fold(model, plan, batches, sensitivities)
        return floats.rounding_errors(model, plan, batches, sensitivities, self.recipe, self._extremes), costs

    @cached_property
    def _extremes(self) -> Mapping[str, ChannelRanges]:
        """How far what layers are given reaches on vivid pictures, by name, where ranges are to hold that."""
        if not self._goes_to_extremes:
            return {}
        found = observe_extremes(self.model, self.plan, map(vivid, self.images))
        return {name: ranges for (name, side), ranges in found.items() if side == "inputs"}

    def quantized(self, plan: Plan, progress: Progress) -> SRModel:
        """A new model whose layers have the bits that ``plan`` says; those that it does not name stay as they are."""
        quantized = _copied(self.model)
        if self._by_sensitivity:
            # Layers wait for one another: the work of one process.
            (layers,) = distributed.share([plan], partial(self._one_after_the_other, quantized, progress))
        else:
            layers = self._at_once(progress, plan)
        for name, layer in layers.items():
            replace(quantized.net, name, layer.to(_device(self.model)))
        quantized.quantization = Quantization(self.recipe.to_dict(), _describe(self._described))
        return quantized

    def _one_after_the_other(self, quantized: SRModel, progress: Progress, plan: Plan) -> dict[str, QuantizedLayer]:
        """Quantized layers by name, where it matters how the output reacts; ``quantized`` is a copy of the model."""
        if not self.recipe.compensation:
            return self._at_once(progress, plan)
        sensitivities = self.sensitivities
        if self.recipe.target == "onnxruntime":
            sensitivities = folding.fold(quantized, plan, list(self.images), sensitivities)
        images = torch.cat(list(self.images))
        sequential.quantize_layers(quantized, plan, images, sensitivities, self.recipe, self._extremes, progress)
        return dict(quantized_layers(quantized.net))

    def _at_once(self, progress: Progress, plan: Plan) -> dict[str, QuantizedLayer]:
        """Quantized layers by name, from one pass of the model over the images."""
        if self._observers is None:
            names = [name for name, bits in self.plan.items() if bits.a_bits]
            self._observers = observe(self.model, names, self.images, self.recipe, progress, self._extremes)
        observers = self._observers

        def choose(item: tuple[int, str]) -> QuantizedLayer:
            done, name = item
            progress("Selecting points", done, len(missing))
            layer, bits = self.model.net.get_submodule(name), plan[name]
            assert isinstance(layer, QUANTIZABLE)
            quantizer = None
            if bits.a_bits is not None and observers[name].samples:
                sensitivity = self.sensitivities.get(name)
                quantizer = make_input_quantizer(layer, observers[name], bits.a_bits, sensitivity, self.recipe)
            layer = adapted(layer, quantizer)
            weight = make_weight(layer.weight, bits, self.recipe)
            return round_bias(counterpart(copy.deepcopy(layer), weight, quantizer))

        missing = [(name, bits) for name, bits in plan.items() if (name, bits) not in self._made]
        chosen = distributed.share(list(enumerate(name for name, _ in missing)), choose)
        progress("Selecting points", len(missing), len(missing))
        self._made.update(zip(missing, chosen, strict=True))
        return {name: self._made[name, bits] for name, bits in plan.items()}


def plan_layers(model: SRModel, recipe: Recipe) -> Mapping[str, LayerBits]:
    """Which layers ``recipe`` quantizes, and to how many bits, in the order of the network's definition.

    Raises :class:`UsageError` for a pattern that matches no quantizable layer, and where there is none to quantize.
    """
    layers = quantizable_layers(model.net)
    for pattern in (*recipe.skip, *(pattern for pattern, _ in recipe.layer_bits)):
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise UsageError(
                f"pattern {pattern!r} matches no layer; layers are named like {', '.join(list(layers)[:4])}"
            )
    mapless = without_maps(model.net, model.info.channels) if recipe.scope == "all" else set()
    negligible = floats.negligible(model) if recipe.for_engines else set()
    plan = {}
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


@torch.inference_mode()
def observe(
    model: SRModel,
    names: list[str],
    images: PatchStream | Iterable[Tensor],
    recipe: Recipe,
    progress: Progress,
    extremes: Mapping[str, ChannelRanges] | None = None,
) -> dict[str, Observer]:
    """Run the full-precision model over all images and return what the layers called ``names`` were given.

    One image at a time: in larger batches a convolution may round differently. Several processes take turns.
    Raises :class:`UsageError` where there are no images.
    """
    observers: dict[str, Observer] = {}
    handles = []
    for name in names:
        layer = model.net.get_submodule(name)
        observer = observers[name] = make_observer(layer, recipe, (extremes or {}).get(name))
        handles.append(layer.register_forward_pre_hook(partial(_watch, observer)))
    total = images.patches if isinstance(images, PatchStream) else 0
    done = 0
    try:
        device = _device(model)
        for image in (image for batch in images for image in batch.unsqueeze(1)):
            if distributed.is_mine(done):
                progress("Calibrating", done, total)
                model(image.to(device))
            done += 1
    finally:
        for handle in handles:
            handle.remove()
    if not done:
        raise UsageError("no calibration images were given")
    for observer in observers.values():
        observer.reduce(device)
    progress("Calibrating", done, done)
    return observers


def _watch(observer: Observer, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    observer.observe(inputs[0])


def _copied(model: SRModel) -> SRModel:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a network of the user's own holds
        raise UsageError(f"{model.info.architecture} holds what cannot be copied: {error}") from error


def _device(model: SRModel) -> torch.device:
    return next(model.parameters()).device


def _describe(images: PatchStream | Iterable[Tensor]) -> dict[str, object]:
    if not isinstance(images, PatchStream):
        return {}
    return {"patches": images.patches, "patch": [images.patch, images.patch], "sha256": images.fingerprint}
