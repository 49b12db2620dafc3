"""The evaluation loop: upscale every LR image of a set, round to uint8, compare with HR."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dfsq import distributed
from dfsq.engines.engine import Engine
from dfsq.engines.opening import as_engine
from dfsq.errors import ImageError, UsageError
from dfsq.evaluation.benchmarks import Benchmark, Image, Pair, find_all
from dfsq.evaluation.bicubic import downscale, upscale
from dfsq.evaluation.metrics import psnr, rgb_to_y, score, ssim
from dfsq.evaluation.perceptual import Metric
from dfsq.evaluation.results import ImageResult, Scores, SetResult
from dfsq.evaluation.upscaling import upscale_to_score
from dfsq.model import SRModel


@dataclass(frozen=True)
class Upscaled:
    """One image of an evaluation, with its pictures: uint8 RGB ``(H, W, 3)``."""

    set_name: str
    name: str
    lr: Image
    hr: Image
    result: Image
    scores: Scores
    metrics: Mapping[str, float] = field(default_factory=dict)


def evaluate(
    model: SRModel | Engine,
    data: str | Path | Iterable[Benchmark],
    sets: Iterable[str] = (),
    on_image: Callable[[Upscaled], None] = lambda _: None,
    metrics: Sequence[Metric] = (),
) -> tuple[SetResult, ...]:
    """Score ``model``, in torch or in an engine, on every set; ``on_image`` is called with each image.

    One image per process is in memory at a time.

    ``data`` is the folder that holds the sets named ``sets`` (all that are there when empty), or the sets themselves.

    Protocol: the output is clamped and rounded to uint8, ``scale`` pixels are cropped from every border, PSNR and SSIM
    are taken on the luma of BT.601 and on RGB, ``metrics`` on the same pixels of RGB. Of a luminance network the output
    is luma already, clamped and rounded as it is. Raises :class:`UsageError` for a set at another scale than the
    model's and for a network that :func:`dfsq.wrap` has to wrap first, :class:`ImageError` for images that cannot be
    used, and :class:`~dfsq.errors.OutputError` where the model's output is not finite.
    """
    engine = as_engine(model, "evaluate")
    if isinstance(data, str | Path):
        data = find_all(Path(data), sets, engine.scale)
    return tuple(_evaluate_set(engine, each, on_image, metrics) for each in data)


def bicubic_baseline(hr: Image, scale: int) -> Scores:
    """Scores of bicubic interpolation as published tables have them.

    They shrink and enlarge the HR image ``(H, W, 3)`` in floating point, so that no uint8 LR image comes between, and
    round the luma of both images; a grey image ``(H, W, 1)`` is its own luma. Agrees with the tables to 0.005 dB.
    """
    exact = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale].astype(np.float64)
    enlarged = np.clip(upscale(downscale(exact, scale), scale), 0, 255)
    pair = torch.stack([torch.from_numpy(each) for each in (enlarged, exact)]).permute(0, 3, 1, 2)
    pair = pair[:, :, scale:-scale, scale:-scale]
    luma = (rgb_to_y(pair) if hr.shape[2] == 3 else pair).round()
    rgb = pair.round()
    return Scores(psnr(*luma), ssim(*luma), psnr(*rgb), ssim(*rgb))


def evaluate_bicubic(benchmarks: Iterable[Benchmark]) -> tuple[SetResult, ...]:
    """:func:`bicubic_baseline` of every image of every set."""
    return tuple(
        SetResult(
            each.name,
            each.scale,
            False,
            tuple(distributed.share(each.pairs, partial(_score_bicubic, each.scale))),
        )
        for each in benchmarks
    )


def _score_bicubic(scale: int, pair: Pair) -> ImageResult:
    return ImageResult(pair.name, bicubic_baseline(pair.read(scale)[1], scale))


def _evaluate_set(
    engine: Engine, benchmark: Benchmark, on_image: Callable[[Upscaled], None], metrics: Sequence[Metric]
) -> SetResult:
    inner = slice(engine.scale, -engine.scale), slice(engine.scale, -engine.scale)

    if benchmark.scale != engine.scale:
        raise UsageError(f"the model upscales ×{engine.scale}, the set {benchmark.name} is for ×{benchmark.scale}")

    def upscaled(pair: Pair) -> Upscaled:
        lr, hr = pair.read(engine.scale)
        try:
            result, luma = upscale_to_score(engine, lr)
            scores = score(result, hr, engine.scale, luma)
        except ImageError as error:
            raise ImageError(f"{pair.name}: {error}") from None
        others = {each.name: each(result[inner], hr[inner]) for each in metrics}
        return Upscaled(benchmark.name, pair.name, lr, hr, result, scores, others)

    images = []
    for pairs in distributed.rounds(benchmark.pairs):
        for image in distributed.share(pairs, upscaled):
            on_image(image)
            images.append(ImageResult(image.name, image.scores, image.metrics))
    return SetResult(benchmark.name, benchmark.scale, benchmark.lr_supplied, tuple(images))
