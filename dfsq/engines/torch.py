"""torch: checkpoints and artifacts as they are, whole or in strips."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from dfsq.engines import reach as reaching
from dfsq.engines.description import Description
from dfsq.engines.engine import Engine, OnProgress
from dfsq.engines.memory import Footprint, footprint
from dfsq.engines.processor import instruction_set
from dfsq.engines.reach import Reach
from dfsq.engines.registry import TORCH
from dfsq.engines.scratch import Scratch
from dfsq.engines.strips import run_in_strips
from dfsq.errors import UsageError
from dfsq.model import SRModel
from dfsq.nn import quantized_layers, quantized_places, replace

_BAND = 256
"""Rows of a result in scratch files that are handed on together."""


class Torch(Engine):
    """An :class:`~dfsq.model.SRModel` where it is."""

    def __init__(self, model: SRModel, precision: str = "auto") -> None:
        """``precision``: ``f32``, which ``auto`` stands for, or ``bf16`` for a network in full precision.

        Raises :class:`UsageError` for bf16 and a quantized network.
        """
        if precision == "bf16" and model.quantization is not None:
            raise UsageError("`precision` bf16 is for networks in full precision: quantized layers compute in f32")
        self.model = model
        self.precision = "f32" if precision == "auto" else precision
        device = self.device
        on = instruction_set(limited=True) if device.type == "cpu" else str(device)
        description = Description(TORCH, torch.__version__.partition("+")[0], self.precision, on)
        super().__init__(model.info, description, model.quantization, model.notes)

    @property
    def origin(self) -> SRModel:
        """The model itself."""
        return self.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @cached_property
    def footprint(self) -> Footprint:
        """What the network takes."""
        return footprint(self.model)

    def network(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """What upscales ``images``: grey has a way of its own."""
        return self.model.upscale_grey if images.shape[1] == 1 else self.model

    def autocast(self) -> AbstractContextManager[object]:
        """What makes layers compute in the chosen precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def run(self, images: Tensor) -> Tensor:
        """See :class:`Engine`."""
        images = images.to(self.device)
        with self.autocast():
            return self.network(images)(images).float()

    def tile(self, height: int, width: int, memory: float, overlap: int | None = None) -> int | None:
        """See :class:`Engine`: rows of a strip."""
        return self.footprint.rows(height, width, memory) if self.device.type == "cpu" else None

    def cut(self, tile: int, height: int, width: int) -> int | None:
        """See :class:`Engine`: strips have the image's width."""
        return tile if tile < height else None

    def tiled(
        self, tile: int, scratch: Path, overlap: int | None = None, on_progress: OnProgress = lambda _: None
    ) -> Engine:
        """See :class:`Engine`. Raises :class:`UsageError` for an overlap, which strips have none of."""
        if overlap is not None:
            raise UsageError("`overlap` is for windows; torch works in strips that change no pixel: leave it out")
        return Strips(self, tile, scratch, on_progress)

    def find_reach(self) -> Reach | None:
        """See :class:`Engine`."""
        structure = self.model
        if self.quantization is not None:
            structure = copy.deepcopy(self.model)
            for _, layer in quantized_layers(structure.net):
                # It may look values up in tables, where what is not a number has no place.
                layer.input_quantizer = None
            for name, _ in list(quantized_places(structure.net)):
                replace(structure.net, name, nn.Identity())
        return reaching.find(self, self.scale, structure)

    def bytes_per_pixel(self) -> float:
        """See :class:`Engine`."""
        return self.footprint.bytes


class Strips(Engine):
    """A network on the CPU that advances in strips of rows, with its activations in files: the result is the same."""

    def __init__(self, engine: Torch, rows: int, scratch: Path, on_progress: OnProgress = lambda _: None) -> None:
        """``rows`` of the input worked on at a time; ``scratch``: the folder for files."""
        super().__init__(engine.info, engine.description, engine.quantization)
        self._engine = engine
        self._rows = rows
        self._folder = scratch
        self._on_progress = on_progress

    def run(self, images: Tensor) -> Tensor:
        """See :class:`Engine`."""
        return torch.cat(list(self.bands(images)), dim=2)

    def plan(self, height: int, width: int) -> str:
        """See :class:`Engine`."""
        # Twice what is alive at once, for activations of different sizes do not share a file.
        size = 2 * self._engine.footprint.bytes * height * width / 1e9
        return f"strips of {self._rows} rows; {self._folder} needs up to {size:.1f} GB meanwhile"

    def bands(self, images: Tensor) -> Generator[Tensor]:
        """See :class:`Engine`. Raises :class:`~dfsq.errors.DfsqError` where the disk is full."""
        done, total = 0, self._engine.footprint.work * images.shape[2] * images.shape[3]

        def count(work: int) -> None:
            nonlocal done
            done += work
            self._on_progress(min(1.0, done / total))

        with Scratch(self._folder) as scratch:
            with self._engine.autocast():
                maps = run_in_strips(self._engine.network(images), images, self._rows, scratch, count)
            for start in range(0, maps.shape[2], _BAND):
                yield maps[:, :, start : start + _BAND].float()
