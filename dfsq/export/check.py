"""An exported file in the engines that are there, against the model that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfsq.engines.registry import GRAPH_ENGINES
from dfsq.engines.session import Session
from dfsq.errors import DfsqError
from dfsq.evaluation.bicubic import downscale
from dfsq.evaluation.metrics import psnr
from dfsq.export.restless import restless
from dfsq.extras import installed
from dfsq.images.samples import NAMES, photograph
from dfsq.model import SRModel

FLOAT_LIMIT = 1e-4
"""Largest difference of a float graph, in 0–1."""
GREY_LEVEL = 1 / 255
SHARE = 0.999
"""Of the pixels of a quantized graph, and of bytes, that are within one grey level."""
PSNR_LIMIT = 0.01
"""Largest difference in dB between what torch and an engine reach."""
_STREAMS = (0.5, 0.1)
"""SHARE and PSNR_LIMIT for ONNX Runtime, whose integers also round what torch leaves in float between layers."""
_LARGE = 1024
"""Pixels of which a PSNR tells something: in a few hundred, one value of another code is all that is seen."""
_OTHERS = 4
"""How often a quantized network is compared with itself."""
_MARGIN = 1.25
"""How many times as far from torch an engine may be as torch from itself, in pixels and in their mean square."""
_PSNR_MARGIN = 2
"""The same for differences of PSNR, which scatter about 0: the largest of a few says less of them."""
_SIZES = ((33, 47), (48, 40), (64, 97))
_SMALLEST = 8
"""Smaller pictures are not tried: there is no picture in them."""

Run = Callable[[NDArray[Any]], NDArray[Any]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Checked:
    """How close one engine came to torch, at worst, over all pictures."""

    engine: str
    pictures: int
    difference: float
    """Largest, in 0–1."""
    share: float
    """Of pixels within a grey level."""
    rms: float
    """Root of the mean squared difference, in 0–1."""
    psnr: float
    """By how much the engine's PSNR differs from torch's, in dB, on a photograph in its full size."""


def engines() -> tuple[str, ...]:
    """Those that are installed."""
    return tuple(name for name, entry in GRAPH_ENGINES.items() if installed(entry.library))


def opened(engine: str, path: Path) -> Session:
    """The file ``path`` in ``engine``, in float32. Raises :class:`DfsqError` where the engine refuses it."""
    try:
        module = import_module(GRAPH_ENGINES[engine].module)
        session: Session = module.open_session(path, "f32", torch.get_num_threads())
    except Exception as error:  # each engine raises what it likes
        raise DfsqError(f"{engine} cannot load what was exported ({_reason(error)}); nothing was written") from error
    return session


def check(model: SRModel, engine: str, session: Session, facts: Mapping[str, Any], advance: Progress) -> Checked:
    """Compare ``session`` with ``model`` on pictures of several sizes, a batch and the smallest size among them.

    ``facts`` are those of the file. Raises :class:`DfsqError` that says how far off it is, and at which size.
    """
    shapes = list(_shapes(facts))
    exact = facts["quantization"] is None and facts["input"]["dtype"] == "float32"
    in_streams = facts.get("target") == "onnxruntime"
    bounds = _STREAMS if in_streams else (SHARE, PSNR_LIMIT)
    worst = Checked(engine, len(shapes), 0.0, 1.0, 0.0, 0.0)
    others: list[Checked] = []  # torch against itself, on this picture and those before: a small one has few values
    for number, (batch, height, width) in enumerate(shapes):
        advance(f"checking in {engine}", number, len(shapes))
        images, truth = pictures(batch, height, width, model.scale)
        expected, found = _expected(model, images, facts), _found(session.run, images, facts, engine)
        where = f"at {height}×{width}" + f", {batch} images" * (batch > 1)
        compare = partial(_compared, engine, len(shapes), expected, truth=truth, where=where)
        result = compare(found)
        if exact:
            _judge_exact(result, float(expected.abs().max()), where)
        else:
            if not in_streams:
                others += [compare(each) for each in _others(model, images, facts)]
            limits = (bounds[1], *(_PSNR_MARGIN * each.psnr for each in others))
            decibels = max(limits) if height * width >= _LARGE else torch.inf
            try:
                _judge_rounded(result, others, bounds[0], decibels, where)
            except DfsqError as error:
                raise DfsqError("; ".join((str(error), *session.notes))) from error
        worst = Checked(
            engine,
            len(shapes),
            max(worst.difference, result.difference),
            min(worst.share, result.share),
            max(worst.rms, result.rms),
            max(worst.psnr, result.psnr if height * width >= _LARGE else 0.0),
        )
    advance(f"checking in {engine}", len(shapes), len(shapes))
    return worst


def pictures(batch: int, height: int, width: int, scale: int) -> tuple[Tensor, Tensor]:
    """Crops of the sample photographs, shrunk by ``scale``, and the photographs themselves.

    LR ``(batch, 3, height, width)`` and HR ``(batch, 3, scale·height, scale·width)`` in 0–1, whole grey levels.
    """
    chosen = [_crops(NAMES[number % len(NAMES)], height, width, scale) for number in range(batch)]
    lr, hr = (torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2).float() / 255 for each in zip(*chosen, strict=True))
    return lr, hr


def _crops(name: str, height: int, width: int, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    photo, small = _shrunk(name, scale)
    rows, columns = [(60 + row) % small.shape[0] for row in range(height)], np.arange(90, 90 + width) % small.shape[1]
    fine = [np.add.outer(scale * np.asarray(each), np.arange(scale)).ravel() for each in (rows, columns)]
    return small[rows][:, columns], photo[fine[0]][:, fine[1]]


@cache
def _shrunk(name: str, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    photo = photograph(name)
    height, width = (side // scale * scale for side in photo.shape[:2])
    return photo[:height, :width], downscale(photo[:height, :width], scale)


def _shapes(facts: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    batch = facts["input"]["shape"][0]
    free = 2 if batch == "N" else int(batch)
    height, width = (size for size in facts["input"]["shape"][1:] if size != 3)
    if height != "H":
        yield free, height, width
        return
    least = max(facts["min_size"], _SMALLEST)
    for index, (rows, columns) in enumerate(_SIZES):
        yield free if index == 0 else (1 if batch == "N" else free), max(rows, least), max(columns, least)
    yield (1 if batch == "N" else free), least, least + 1


def _others(model: SRModel, images: Tensor, facts: Mapping[str, Any]) -> Iterator[Tensor]:
    """What a quantized ``model`` may return as well, where sums are rounded in other ways."""
    for seed in range(_OTHERS):
        with restless(model, seed):
            yield _expected(model, images, facts)


@torch.no_grad()
def _expected(model: SRModel, images: Tensor, facts: Mapping[str, Any]) -> Tensor:
    device = next(model.parameters()).device
    result: Tensor = model(images.to(device)).cpu()
    return result if facts["input"]["dtype"] == "float32" else (result * 255).clamp(0, 255).round() / 255


def _found(run: Run, images: Tensor, facts: Mapping[str, Any], engine: str) -> Tensor:
    array = images.numpy()
    is_float = facts["input"]["dtype"] == "float32"
    if not is_float:
        array = np.ascontiguousarray((images * 255).round().byte().permute(0, 2, 3, 1).numpy())
    try:
        result = torch.from_numpy(np.array(run(array)))
    except Exception as error:  # each engine raises what it likes
        size = "×".join(map(str, images.shape[-2:]))
        raise DfsqError(
            f"{engine} fails at {size} ({_reason(error)}); nothing was written; give `size` for a graph of one size"
        ) from error
    return result if is_float else result.permute(0, 3, 1, 2).float() / 255


def _compared(engine: str, pictures: int, expected: Tensor, found: Tensor, truth: Tensor, where: str) -> Checked:
    if found.shape != expected.shape:
        shapes = ["×".join(map(str, each.shape)) for each in (found, expected)]
        raise DfsqError(f"{engine} returns {shapes[0]} instead of {shapes[1]} {where}; nothing was written")
    if not expected.isfinite().all():
        raise DfsqError(f"the network itself returns values that are not finite {where}; nothing was written")
    difference = (found - expected).abs()
    scores = [psnr(each.clamp(0, 1) * 255, truth * 255) for each in (found, expected)]
    return Checked(
        engine,
        pictures,
        float(difference.nan_to_num(torch.inf).max()),
        float((difference <= 1.001 * GREY_LEVEL).float().mean()),
        float(difference.nan_to_num(torch.inf).square().mean().sqrt()),
        0.0 if scores[0] == scores[1] else abs(scores[0] - scores[1]),
    )


def _judge_exact(result: Checked, peak: float, where: str) -> None:
    limit = FLOAT_LIMIT * max(1.0, peak)
    if not result.difference <= limit:
        raise DfsqError(
            f"{result.engine} is off by {result.difference:.2g} {where}, at most {limit:.2g} allowed; nothing was "
            "written; give `size` for a graph of one size"
        )


def _judge_rounded(result: Checked, others: Sequence[Checked], share: float, decibels: float, where: str) -> None:
    """Raise :class:`DfsqError` where an engine is off by more than ``share`` of the pixels and ``decibels`` allow, and
    by more than torch itself is where sums are rounded in other ways."""
    share = min([share, *(1 - _MARGIN * (1 - other.share) for other in others)])
    rms = max([GREY_LEVEL / 4, *(_MARGIN * other.rms for other in others)]) if others else torch.inf
    if not (result.share >= share and result.rms <= rms and result.psnr <= decibels):
        raise DfsqError(
            f"{result.engine} is within a grey level on {100 * result.share:.2f} % of the pixels {where}, "
            f"at least {100 * share:.4g} % needed, {result.rms / GREY_LEVEL:.2f} grey levels off (root mean square), "
            f"at most {rms / GREY_LEVEL:.2f} allowed, and {result.psnr:.3f} dB, at most {decibels:.2g} allowed; "
            "nothing was written"
        )


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip() and "Exception from" not in line]
    return " ".join(" ".join(lines).split())[:200] or type(error).__name__
