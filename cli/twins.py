"""A network in full precision and quantized, side by side, with images that played no part in that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.calibrating import patches_of
from cli.console import note
from cli.loading import load_model
from cli.progress import progress
from dfsq.errors import UsageError

if TYPE_CHECKING:
    from calibration.images import Image
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.model import SRModel


@dataclass(frozen=True)
class Twins:
    """Two models of one network."""

    source: str
    """The checkpoint."""
    full: SRModel
    """In full precision, in the units in which it was quantized."""
    quantized: SRModel
    held_out: Benchmark
    """Images set aside."""


def quantized_now(
    checkpoint: str,
    model: SRModel,
    recipe_name: str | None,
    bits: int | None,
    images: tuple[Path, ...],
    quiet: bool,
    *,
    is_lr: bool,
) -> Twins:
    """The ``model`` of ``checkpoint``, quantized on some of ``images``, files or folders."""
    import calibration
    from calibration.analysis.units import in_units_of

    recipe = calibration.recipe(recipe_name or "accurate", **({} if bits is None else {"w_bits": bits, "a_bits": bits}))
    rest, held_out = _divided(model.scale, images, quiet, is_lr, patch_size=recipe.patch_size, seed=recipe.seed)
    patches = patches_of(model, recipe, rest, quiet, is_lr=is_lr)
    with progress(quiet) as advance:
        quantized = calibration.quantize(model, patches, recipe, advance)
        return Twins(checkpoint, in_units_of(recipe, model, patches, advance), quantized, held_out)


def quantized_before(
    artifact: str,
    model: SRModel,
    reference: str | None,
    images: tuple[Path, ...],
    quiet: bool,
    *,
    is_lr: bool,
    device: str,
    overrides: dict[str, Any],
) -> Twins:
    """The ``model`` of ``artifact``, and the checkpoint that it was made of: ``reference``, or that which lies beside
    it; ``overrides`` are those of :func:`cli.loading.load_model`."""
    from calibration.analysis.units import is_folded

    info = model.info
    assert model.quantization is not None
    if is_folded(model.quantization.recipe):
        raise UsageError(
            "factors of channels are folded into this artifact's layers, which then compare with none of the "
            "checkpoint's; analyze the checkpoint by its recipe instead"
        )
    source = reference or _source(Path(artifact), model)
    found = {"scale": info.scale, "rgb_range": info.rgb_range, "force": True}
    given = {key: value for key, value in overrides.items() if value and key not in found}
    full = load_model(source, quiet, device=device, **found, **given)
    if full.info.source_sha256 != info.source_sha256:
        raise UsageError(
            f"the artifact was made of {info.source} with sha256 {info.source_sha256[:12]}…, and {source} has "
            f"{full.info.source_sha256[:12]}…; give that file"
        )
    _, held_out = _divided(model.scale, images, quiet, is_lr)
    return Twins(source, full, model, held_out)


def first(held_out: Benchmark, count: int) -> Benchmark:
    """``held_out`` with ``count`` images at most."""
    return replace(held_out, pairs=held_out.pairs[:count])


def _divided(
    scale: int, images: tuple[Path, ...], quiet: bool, is_lr: bool, *, patch_size: int = 1, seed: int = 0
) -> tuple[list[Path | Image], Benchmark]:
    """Images to calibrate on, if patches of a size are needed, and some set aside."""
    import calibration
    from dfsq.evaluation import samples

    return calibration.set_aside(
        images or samples.calibration_images(),
        scale=scale,
        patch_size=patch_size,
        seed=seed,
        is_lr=is_lr,
        on_skip=lambda reason: note(reason, quiet),
    )


def _source(artifact: Path, model: SRModel) -> str:
    """The checkpoint that ``artifact`` was made of, if it is where one would look."""
    from dfsq.checkpoint import sha256_of
    from dfsq.embedded import EMBEDDED, located

    name = model.info.source
    stored = {file: called for called, file in EMBEDDED.items()}
    for candidate in (artifact.parent / name, Path(name), stored.get(name)):
        if candidate is None:
            continue
        with located(candidate) as place:
            if place.is_file() and sha256_of(place) == model.info.source_sha256:
                return str(candidate)
    raise UsageError(f"{artifact} was made of {name}, which is not beside it; name that file by `reference`")
