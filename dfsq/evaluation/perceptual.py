"""Scores beyond PSNR and SSIM, by pyiqa where its user has installed it.

pyiqa is no dependency and no extra of dfsq: its licence is for non-commercial use. Whoever may use it installs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfsq.errors import DfsqError, UsageError

Image = NDArray[np.uint8]
_MODES = ("FR", "NR")
"""Of what pyiqa compares with a reference, and what it does not; others score sets."""


class Metric(Protocol):
    """A score of one image."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    @property
    def lower_better(self) -> bool:
        """Whether less is better."""

    def __call__(self, result: Image, truth: Image) -> float:
        """The score of ``result`` beside ``truth``, both uint8 RGB ``(H, W, 3)``, which it need not look at."""


class PyiqaMetric:
    """A metric of pyiqa, which takes RGB ``(1, 3, H, W)`` in 0–1."""

    def __init__(self, name: str, metric: Any, device: str) -> None:
        self.name = name
        self.lower_better = bool(metric.lower_better)
        self._metric = metric
        self._device = device
        self._compares = str(getattr(metric, "metric_mode", "FR")).upper() == "FR"

    @torch.no_grad()
    def __call__(self, result: Image, truth: Image) -> float:
        """See :class:`Metric`. Raises :class:`DfsqError` where pyiqa fails, as on images that are too small for it."""
        images = [self._tensor(each) for each in ((result, truth) if self._compares else (result,))]
        try:
            score = self._metric(*images)
        except Exception as error:  # what it raises differs between metrics
            raise DfsqError(f"the metric {self.name} cannot be computed ({_reason(error)}); leave it out") from error
        return float(score.mean() if isinstance(score, Tensor) else score)

    def _tensor(self, image: Image) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(image)).to(self._device).permute(2, 0, 1)[None].float() / 255


def metrics(names: Iterable[str], device: str = "cpu") -> list[Metric]:
    """Metrics of pyiqa by name, each once, on ``device``; making one may download its weights.

    Raises :class:`UsageError` for a name that pyiqa does not know and for scores of whole sets, and :class:`DfsqError`
    where pyiqa is not installed or cannot make one.
    """
    wanted = list(dict.fromkeys(names))
    return [_made(_pyiqa(), name, device) for name in wanted]


def _made(pyiqa: ModuleType, name: str, device: str) -> Metric:
    known = list(pyiqa.list_models()) if hasattr(pyiqa, "list_models") else [name]
    name = next((each for each in known if each.lower() == name.lower()), name)
    if name not in known:
        raise UsageError(f"`metrics`: pyiqa has no {name!r}; it has {', '.join(known)}")
    try:
        metric = pyiqa.create_metric(name, device=device)
    except Exception as error:  # a network that is down, a library of its own that is missing
        raise DfsqError(f"pyiqa cannot make the metric {name} ({_reason(error)}); leave it out") from error
    if str(getattr(metric, "metric_mode", "FR")).upper() not in _MODES or name == "fid":
        raise UsageError(f"`metrics`: {name} scores sets of images, not images; leave it out")
    return PyiqaMetric(name, metric, device)


def _pyiqa() -> ModuleType:
    try:
        return import_module("pyiqa")
    except Exception as error:  # it imports much, and more than ImportError comes of libraries that do not fit
        raise DfsqError(
            f"metrics are computed by pyiqa, which cannot be imported ({_reason(error)}); pip install pyiqa, "
            "if its licence, for non-commercial use, allows it"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
