"""Distillation: the quantized network learns to reproduce the full-precision one on unlabeled patches.

Codes and biases are trained end to end with straight-through gradients; points and scales stay as selected.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dfsq.model import SRModel
from dfsq.nn import QuantizedLayer, SubsetQuantizer, quantized_layers

Progress = Callable[[str, int, int], None]
BATCH, PATCH = 4, 48
"""Patches per step, and their height and width in LR pixels at most."""
HELD_OUT = 8
"""One of this many patches is not trained on; the result is kept only if it is better on those."""


def distill(
    model: SRModel,
    quantized: SRModel,
    patches: Tensor,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
) -> None:
    """Train ``quantized``, in place, for ``steps`` steps of Adam on LR ``patches`` ``(N, 3, H, W)`` in 0–1.

    The loss is the mean squared difference of the two outputs. ``rate`` is the step size in units of a layer's mean
    distance between neighbouring weight levels; it decays to 0 along a cosine. What does not help on the patches that
    were held out is undone.
    """
    held_out, trained = patches[::HELD_OUT], patches[[i for i in range(len(patches)) if i % HELD_OUT]]
    layers = dict(quantized_layers(quantized.net))
    before = copy.deepcopy(quantized.net.state_dict()), {name: layer.quantized_weight for name, layer in layers.items()}
    reference = _difference(model, quantized, held_out)
    quantizers = [module for module in quantized.net.modules() if isinstance(module, SubsetQuantizer)]
    handles = [quantizer.register_forward_hook(_pass_through) for quantizer in quantizers]
    try:
        with torch.enable_grad():
            _train(model, quantized, layers, trained, steps, rate, seed, progress)
    finally:
        for handle in handles:
            handle.remove()
    if _difference(model, quantized, held_out) >= reference:
        state, weights = before
        quantized.net.load_state_dict(state)
        for name, layer in layers.items():
            layer.quantized_weight = weights[name]


def _train(
    model: SRModel,
    quantized: SRModel,
    layers: dict[str, QuantizedLayer],
    patches: Tensor,
    steps: int,
    rate: float,
    seed: int,
    progress: Progress,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = {name: layer.quantized_weight.levels() for name, layer in layers.items()}
    latent = {name: layer.weight.detach().clone().requires_grad_() for name, layer in layers.items()}
    biases = {
        name: layer.bias.detach().clone().requires_grad_() for name, layer in layers.items() if layer.bias is not None
    }
    groups = []
    for name, weight in latent.items():
        gap = float((levels[name][:, -1] - levels[name][:, 0]).mean()) / (levels[name].shape[1] - 1)
        own = [weight, biases[name]] if name in biases else [weight]
        groups.append({"params": own, "lr": rate * gap})
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        progress("Distilling", step, steps)
        batch = _crops(patches, generator)
        with torch.no_grad():
            target = model(batch)
        values = {
            f"net.{name}.weight": _straight_through(weight, layers[name], levels[name])
            for name, weight in latent.items()
        }
        values |= {f"net.{name}.bias": bias for name, bias in biases.items()}
        loss = (functional_call(quantized, values, (batch,)) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    progress("Distilling", steps, steps)
    for name, layer in layers.items():
        codes = _codes(latent[name].detach(), levels[name])
        layer.quantized_weight = dataclasses.replace(layer.quantized_weight, codes=codes)
        values_now = (
            layer.quantized_weight.dequantize().contiguous(memory_format=torch.channels_last)
            if latent[name].dim() == 4
            else layer.quantized_weight.dequantize()
        )
        layer.weight = nn.Parameter(values_now, requires_grad=False)
        if name in biases:
            layer.bias = nn.Parameter(biases[name].detach(), requires_grad=False)


def _crops(patches: Tensor, generator: torch.Generator) -> Tensor:
    """Random crops of random patches, mirrored at random."""
    size = min(PATCH, *patches.shape[-2:])
    crops = []
    for index in torch.randint(len(patches), (BATCH,), generator=generator).tolist():
        top, left = (int(torch.randint(patches.shape[axis] - size + 1, (1,), generator=generator)) for axis in (2, 3))
        crop = patches[index, :, top : top + size, left : left + size]
        crops.append(crop.flip(2) if torch.rand(1, generator=generator) < 0.5 else crop)
    return torch.stack(crops)


def _codes(weight: Tensor, levels: Tensor) -> Tensor:
    edges = (levels[:, 1:] + levels[:, :-1]) / 2
    return torch.searchsorted(edges, weight.flatten(1).contiguous(), right=True).to(torch.uint8).reshape(weight.shape)


def _straight_through(weight: Tensor, layer: QuantizedLayer, levels: Tensor) -> Tensor:
    """The rounded weight, with the gradient of the weight itself."""
    with torch.no_grad():
        codes = _codes(weight, levels)
        rounded = levels.gather(1, codes.flatten(1).long()).reshape(weight.shape)
    return weight + (rounded - weight).detach()


def _pass_through(_quantizer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The quantized activations, with the gradient of what was quantized."""
    return inputs[0] + (output - inputs[0]).detach()


@torch.inference_mode()
def _difference(model: SRModel, quantized: SRModel, patches: Sequence[Tensor] | Tensor) -> float:
    return sum(float((quantized(each[None]) - model(each[None])).square().mean()) for each in patches) / len(patches)
