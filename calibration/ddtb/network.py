"""A network while DDTB trains it: all of it, quantizers, bounds and gates within."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from calibration.ddtb.bounds import TrainableBounds
from calibration.ddtb.gate import TrainableGate
from calibration.ddtb.weights import LatentWeight, WeightRounding
from calibration.training.latent import LatentLayer
from calibration.training.network import with_layers
from dfsq import distributed
from dfsq.model import SRModel
from dfsq.networks.scope import QUANTIZABLE, shifts_colours
from dfsq.nn import channel_axis, input_channels


class Student:
    """The network, and what the steps of a schedule do to it."""

    def __init__(
        self,
        model: SRModel,
        weights: Mapping[str, WeightRounding],
        activations: Mapping[str, int],
        gates: Collection[str],
        percent: float,
        seed: int,
        precision: torch.dtype,
    ) -> None:
        """``weights`` and ``activations``: how those of layers, and of places, are rounded, and to how many bits.

        ``gates``: those of ``activations`` that have one; ``percent``: where bounds start, see
        :class:`~calibration.ddtb.TrainableBounds`; ``precision``: of the products of quantized layers.
        """
        generator = torch.Generator().manual_seed(seed)
        replaced: dict[str, nn.Module] = {}
        for name in dict.fromkeys((*activations, *weights)):
            old = model.net.get_submodule(name)
            bounds = None
            if name in activations:
                gate = TrainableGate(input_channels(old), generator) if name in gates else None
                bounds = TrainableBounds(activations[name], percent, gate, channel_axis(old))
            if name in weights:
                latent = LatentWeight(old.weight, weights[name])
                replaced[name] = LatentLayer(old, latent, bounds, old.bias, precision=precision)
            elif bounds is not None:
                replaced[name] = bounds
        device = next(model.parameters()).device
        self.module = with_layers(model, replaced).requires_grad_(True).to(device)
        for layer in self.module.net.modules():
            if isinstance(layer, QUANTIZABLE) and shifts_colours(layer):
                layer.requires_grad_(False)  # the mean colour is a fact, not a weight
        self.bounds = [each for each in self.module.modules() if isinstance(each, TrainableBounds)]
        self.gates = [each.gate for each in self.bounds if each.gate is not None]
        self._norms = [
            each for each in self.module.modules() if isinstance(each, _BatchNorm) and each.track_running_stats
        ]

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Let bounds start from what LR ``images`` give, each behind layers that are quantized already, without gates:
        those are random yet."""
        self.module.eval()
        for each in self.bounds:
            each.training, each.gated = True, False
        self.module(images)

    def train(self, gated: bool) -> None:
        """Normalize by the batch from now on, as published; ``gated``: whether gates are applied."""
        self.module.eval()  # what else knows a difference, as dropout does, is left out
        for norm in self._norms:
            norm.train()
        for each in self.bounds:
            each.gated = gated

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Give all processes the mean of what the batch normalizations of each have seen."""
        running = [(norm, name) for norm in self._norms for name in ("running_mean", "running_var")]
        buffers = [getattr(norm, name) for norm, name in running]
        if not buffers:
            return
        whole = distributed.total(torch.cat([torch.ones_like(buffers[0][:1]), *buffers]))
        parts = torch.split(whole[1:] / whole[0], [len(each) for each in buffers])
        for (norm, name), part in zip(running, parts, strict=True):
            setattr(norm, name, part.clone())  # not in place: the backward pass may still need the old ones

    def parameters(self) -> Iterator[tuple[bool, nn.Parameter]]:
        """All that is trained, each with whether it is a bound."""
        bounds = {id(each) for bounds in self.bounds for each in (bounds.lower, bounds.upper)}
        for each in self.module.parameters():
            if each.requires_grad:
                yield id(each) in bounds, each

    def frozen(self) -> SRModel:
        """The quantized model that it is now."""
        layers: dict[str, nn.Module] = {}
        for name, each in self.module.net.named_modules():
            if isinstance(each, LatentLayer):
                layers[name] = each.frozen()
            elif isinstance(each, TrainableBounds) and not any(name.startswith(f"{layer}.") for layer in layers):
                layers[name] = each.frozen().to(each.lower.device)
        return with_layers(self.module, layers).eval().requires_grad_(False)
