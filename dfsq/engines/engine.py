"""The protocol of all engines: LR image in, SR image out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dfsq.engines.description import Description
from dfsq.errors import DfsqError, ImageError
from dfsq.model import NetworkInfo, Quantization, SRModel

if TYPE_CHECKING:
    from dfsq.engines.reach import Reach

_SMALL = 64
"""Up to this height or width a network may fail because its windows are larger than what they slide over."""
_UNKNOWN = 8192.0
"""Bytes per pixel of a network of which nothing is known: two thousand values, as EDSR holds."""
OnProgress = Callable[[float], None]
"""Called with how much of an image is done, in 0–1."""


class Engine(ABC):
    """A network that something runs. A new engine implements :meth:`run`, and :meth:`tiled` where it can do better."""

    def __init__(
        self,
        info: NetworkInfo,
        description: Description,
        quantization: Quantization | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.info = info
        self.description = description
        self.quantization = quantization
        self.notes = notes
        """What whoever opened it should know, a line each."""

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return self.info.scale

    @property
    def bits(self) -> tuple[float | None, float | None]:
        """Of weights and activations, where they differ on average; None in full precision."""
        recipe = self.quantization.recipe if self.quantization else {}
        average = recipe.get("avg_bits")
        usual = 8 if self.description.integers else None
        mean = recipe.get("mean_w_bits", average), recipe.get("mean_a_bits", average)
        return mean[0] or recipe.get("w_bits", usual), mean[1] or recipe.get("a_bits", usual)

    @property
    def origin(self) -> SRModel | None:
        """The network in torch that it runs, or that its graph was made of; None where that is not at hand."""
        return None

    @abstractmethod
    def run(self, images: Tensor) -> Tensor:
        """What :meth:`__call__` does, with the library's own errors."""

    def __call__(self, images: Tensor) -> Tensor:
        """Upscale float32 ``(N, 3, H, W)``, or grey ``(N, 1, H, W)``, in 0–1 to ``(N, C, scale·H, scale·W)``, not
        clamped.

        Raises :class:`ImageError` for an image too small for the network, and :class:`DfsqError` for what else the
        engine refuses.
        """
        size = f"{images.shape[3]}×{images.shape[2]}"
        try:
            with torch.inference_mode():
                return self.run(images)
        except torch.cuda.OutOfMemoryError as error:
            raise DfsqError(f"{size} pixels are too many for the GPU; upscale them on the CPU") from error
        except RuntimeError as error:
            if min(images.shape[2:]) > _SMALL:
                raise
            reason = str(error).partition("\n")[0]
            raise ImageError(f"{size} pixels are too few for this network ({reason}); enlarge or pad the image") from (
                error
            )

    def bands(self, images: Tensor) -> Generator[Tensor]:
        """What :meth:`__call__` returns, cut into bands of rows from top to bottom, none of which need be in memory
        together."""
        yield self(images)

    def tile(self, height: int, width: int, memory: float, overlap: int | None = None) -> int | None:
        """The largest tile for :meth:`tiled` that stays within ``memory`` bytes; None where the whole image does."""
        from dfsq.engines.windows import tile_within

        return tile_within(self, height, width, memory, overlap)

    def cut(self, tile: int, height: int, width: int) -> int | None:
        """``tile``, or None where an image of this size is no larger."""
        return tile if tile < max(height, width) else None

    def tiled(
        self, tile: int, scratch: Path, overlap: int | None = None, on_progress: OnProgress = lambda _: None
    ) -> Engine:
        """This engine, working on ``tile`` pixels at a time.

        ``scratch``: a folder for what does not fit into memory, ``overlap``: of windows; both where they are needed.
        """
        from dfsq.engines.windows import Windows

        return Windows(self, tile, overlap, on_progress)

    def plan(self, height: int, width: int) -> str:
        """How an image of this size is worked on, where that is not whole, in words for its user."""
        return ""

    @cached_property
    def reach(self) -> Reach | None:
        """How far a pixel of the result looks, or None where that is the whole image; found on first use, which takes
        seconds. None as well where the network fails on what it is tried on."""
        try:
            return self.find_reach()
        except (DfsqError, RuntimeError):
            return None

    def find_reach(self) -> Reach | None:
        """See :attr:`reach`."""
        return None

    def bytes_per_pixel(self) -> float:
        """Memory that its activations take at the worst moment, per pixel of its input."""
        return _UNKNOWN
