"""Quantization of a whole model: observe, select, replace."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial

import torch
from torch import Tensor, nn

from calibration import floats, sequential
from calibration.allocation import mixed_precision
from calibration.images import PatchStream
from calibration.layers import LayerBits, Observer, adapted, make_input_quantizer, make_observer, make_weight
from calibration.progress import Progress
from calibration.recipe import MAX_BITS, Recipe
from calibration.sensitivity import Sensitivity, measure
from dfsq import distributed
from dfsq.errors import UsageError
from dfsq.model import Quantization, SRModel
from dfsq.networks.own import check_wrapped
from dfsq.networks.scope import QUANTIZABLE, quantizable_layers, shifts_colours, without_maps
from dfsq.nn import QuantizedLayer, counterpart, quantized_layers, replace

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
    check_wrapped(model, "quantize")
    recipe = recipe or Recipe()
    if model.quantization is not None:
        raise UsageError("the model is quantized already; start from the full-precision checkpoint")
    plan = plan_layers(model, recipe)
    quantized = _copied(model)
    # Patches are small; what must not pile up are activations.
    if recipe.compensation or recipe.feedback or recipe.avg_bits or recipe.float_share:
        batches = [batch.to(_device(model)) for batch in images]
        if len({batch.shape[1:] for batch in batches}) != 1:
            raise UsageError("calibration needs images, all of one size with compensation, feedback or avg_bits")
        # Sums in floating point, and layers that wait for one another: the work of one process.
        work = partial(_quantize_by_sensitivity, model, quantized, plan, recipe=recipe, progress=progress)
        (layers,) = distributed.share([batches], work)
    else:
        layers = _quantize_in_parallel(model, plan, images, {}, recipe, progress)
    for name, layer in layers.items():
        replace(quantized.net, name, layer.to(_device(model)))
    quantized.quantization = Quantization(recipe.to_dict(), _describe(images))
    return quantized


def _quantize_by_sensitivity(
    model: SRModel,
    quantized: SRModel,
    plan: Mapping[str, LayerBits],
    batches: Sequence[Tensor],
    recipe: Recipe,
    progress: Progress,
) -> dict[str, QuantizedLayer]:
    """Quantized layers by name, where it matters how the output of ``model`` reacts; ``quantized`` is a copy of it."""
    sensitivities = measure(model, list(plan), batches, recipe.seed, progress)
    if recipe.avg_bits:
        progress("Allocating bits", 0, 0)
        plan = mixed_precision(model, plan, batches, sensitivities, recipe)
    if recipe.float_share:
        errors = floats.input_errors(model, plan, batches, sensitivities, recipe)
        plan = floats.without_costliest(plan, errors, floats.layer_costs(model), recipe.float_share)
    if not recipe.compensation:
        return _quantize_in_parallel(model, plan, batches, sensitivities, recipe, progress)
    sequential.quantize_layers(quantized, plan, torch.cat(list(batches)), sensitivities, recipe, progress)
    return dict(quantized_layers(quantized.net))


def _quantize_in_parallel(
    model: SRModel,
    plan: Mapping[str, LayerBits],
    images: PatchStream | Iterable[Tensor],
    sensitivities: Mapping[str, Sensitivity],
    recipe: Recipe,
    progress: Progress,
) -> dict[str, QuantizedLayer]:
    """Quantized layers by name, from one pass of ``model`` over the images."""
    observers = observe(model, [name for name, bits in plan.items() if bits.a_bits], images, recipe, progress)

    def choose(item: tuple[int, str]) -> QuantizedLayer:
        done, name = item
        progress("Selecting points", done, len(plan))
        layer, bits = model.net.get_submodule(name), plan[name]
        assert isinstance(layer, QUANTIZABLE)
        quantizer = None
        if bits.a_bits is not None and observers[name].samples:
            quantizer = make_input_quantizer(layer, observers[name], bits.a_bits, sensitivities.get(name), recipe)
        layer = adapted(layer, quantizer)
        return counterpart(copy.deepcopy(layer), make_weight(layer.weight, bits, recipe), quantizer)

    chosen = distributed.share(list(enumerate(plan)), choose)
    progress("Selecting points", len(plan), len(plan))
    return dict(zip(plan, chosen, strict=True))


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
    plan = {}
    for name, layer in layers.items():
        if any(fnmatchcase(name, pattern) for pattern in recipe.skip):
            continue
        own = [bits for pattern, bits in recipe.layer_bits if fnmatchcase(name, pattern)]
        if own:
            plan[name] = LayerBits(own[-1], own[-1])
        elif name in model.body:
            plan[name] = LayerBits(recipe.w_bits, recipe.a_bits)
        elif name in mapless and not shifts_colours(layer):
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
) -> dict[str, Observer]:
    """Run the full-precision model over all images and return what the layers called ``names`` were given.

    One image at a time: in larger batches a convolution may round differently. Several processes take turns.
    Raises :class:`UsageError` where there are no images.
    """
    observers: dict[str, Observer] = {}
    handles = []
    for name in names:
        layer = model.net.get_submodule(name)
        observer = observers[name] = make_observer(layer, recipe)
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
