"""``dfsq upscale``: the network at work, on files, folders and images larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.console import note, print_text, tell
from cli.engines import check_engine, engine_options, in_torch, open_engine
from cli.loading import checkpoint_options, flagged
from cli.options import common_options, compile_option, prepare, quiet_option
from cli.outputs import check_outputs
from cli.progress import progress
from cli.values import Number
from dfsq import distributed, limits
from dfsq.engines.registry import AUTO
from dfsq.errors import DfsqError, ImageError, UsageError
from dfsq.files import make_folder

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine


@click.command()
@click.argument("model")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write into; with one image, a file name works too.",
)
@click.option(
    "--tile",
    metavar="auto|N",
    default="auto",
    show_default=True,
    type=Number(int, limits.ROWS, "auto"),
    help="Rows worked on at a time, or height and width of windows in other engines than torch; auto: all that fit "
    "into half of the free memory.",
)
@click.option(
    "--overlap",
    metavar="N",
    type=Number(int, limits.OVERLAP),
    help="Pixels that windows see beside their own.  [default: as far as the network looks]",
)
@click.option(
    "--scratch",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for activations of a tiled image.  [default: the output's]",
)
@engine_options(AUTO)
@checkpoint_options
@compile_option
@quiet_option
@common_options
def upscale(
    model: str,
    inputs: tuple[Path, ...],
    output: Path,
    tile: int | str,
    overlap: int | None,
    scratch: Path | None,
    engine: str | None,
    precision: str,
    device: str,
    compile_: bool | None,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Upscale images with MODEL, a checkpoint, an artifact or a graph (.onnx, OpenVINO's .xml).

    A folder stands for all images in it. Names, transparency, grey and 16 bits are kept; JPEG, GIF, AVIF and what else
    loses becomes PNG: a.jpg becomes a.png, or a.jpg.png where an a.png is there as well. Tiles change no pixel, but for
    windows of a network that looks at the whole image.

    \b
    dfsq upscale model-w4a4.safetensors photo.png -o large.png
    dfsq upscale model-w4a4.safetensors frames/ -o large/
    dfsq upscale model.pth frames/ -o large/ --engine openvino
    """
    if isinstance(tile, int) and device != "cpu":
        raise click.UsageError(f"--tile {tile} works on the CPU; leave it out, or --device {device}")

    check_engine(engine, [model], device=device != "cpu", compile=bool(compile_), scratch=scratch is not None)
    if overlap is not None and in_torch(engine, [model]):
        raise click.UsageError(
            f"--overlap {overlap} is for windows; torch works in strips, which change no pixel: leave it out"
        )

    jobs = _jobs(inputs, output, quiet)
    check_outputs([model, *(str(source) for source, _ in jobs)], [target for _, target in jobs], [])
    device = prepare(device, compile_, quiet)
    opened = open_engine(model, quiet, engine, precision, device=device, **overrides)
    upscaler = _Upscaler(opened, tile, overlap, scratch, quiet)
    if device != "cpu":
        note("every image is upscaled whole; tiles work on the CPU", quiet)
    with progress(quiet) as advance:

        def run(job: tuple[int, tuple[Path, Path]]) -> bool:
            done, (source, target) = job
            advance("images", done, len(jobs))
            try:
                upscaler.upscale(source, target, lambda percent: advance("tiles of one", percent, 100))
            except (ImageError, UsageError) as error:
                if len(jobs) == 1:
                    raise
                tell(str(error) if str(source) in str(error) else f"{source}: {error}")
                return False
            return True

        succeeded = distributed.share(list(enumerate(jobs)), run)
        advance("images", len(jobs), len(jobs))
    if not all(succeeded):
        raise DfsqError(
            f"{succeeded.count(False)} of {len(jobs)} images could not be upscaled, the others are in {output}"
        )
    print_text(f"Wrote {output}" + f" ({len(jobs)} images)" * (len(jobs) > 1) + "\n")


def _jobs(inputs: Sequence[Path], output: Path, quiet: bool) -> list[tuple[Path, Path]]:
    """Images to read, each with the file to write; makes the folder ``output`` where it is one."""
    from dfsq.images.files import scan
    from dfsq.images.naming import output_names
    from dfsq.images.opening import IMAGE_SUFFIXES, READABLE
    from dfsq.images.picture import LOSSLESS

    sources: dict[Path, None] = {}  # without repetition, in order
    for each in inputs:
        if not each.is_dir():
            sources[each] = None
            continue
        listing = scan(each)
        sources |= dict.fromkeys(listing.images)
        if listing.note:
            note(listing.note, quiet)
    if not sources:
        raise UsageError(f"no images in {', '.join(map(str, inputs))}; {READABLE}")
    if output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir():
        if len(sources) > 1 or inputs[0].is_dir():
            raise UsageError(f"--output {output} is one file; name a folder for the images of a folder, or for several")
        if output.suffix.lower() not in LOSSLESS:
            raise UsageError(f"--output {output}: no format that keeps what was gained; choose {', '.join(LOSSLESS)}")
        return [(next(iter(sources)), output)]
    make_folder(output)
    return [(source, output / name) for source, name in zip(sources, output_names(list(sources)), strict=True)]


class _Upscaler:
    """An engine that upscales files, in tiles where they need that."""

    def __init__(self, engine: Engine, tile: int | str, overlap: int | None, scratch: Path | None, quiet: bool) -> None:
        self._engine = engine
        self._tile = tile
        self._overlap = overlap
        self._scratch = scratch
        self._quiet = quiet
        self._noted = ""

    def upscale(self, source: Path, target: Path, on_percent: Callable[[int], None]) -> None:
        """Upscale one file; ``on_percent`` is called while an image is worked on in tiles."""
        from dfsq.evaluation.upscaling import upscale_image
        from dfsq.images.picture import Picture, check_depth, read_picture, write_picture

        picture = read_picture(source)
        if picture.frames > 1:
            note(f"{source}: the first of {picture.frames} frames or pages", self._quiet)
        check_depth(target, picture)
        height, width = picture.pixels.shape[:2]
        engine = self._engine_for(height, width, self._scratch or target.parent, on_percent)
        pixels = upscale_image(engine, picture.pixels)
        write_picture(target, Picture(pixels, picture.colour_profile))

    def _engine_for(self, height: int, width: int, scratch: Path, on_percent: Callable[[int], None]) -> Engine:
        from dfsq.engines.memory import available_memory

        tile = self._tile
        if isinstance(tile, str):
            fitting = self._engine.tile(height, width, available_memory() / 2, self._overlap)
        else:
            fitting = self._engine.cut(tile, height, width)
        if fitting is None:
            return self._engine
        percent = 0

        def report(done: float) -> None:
            nonlocal percent
            if 100 * done >= percent + 1:
                percent = int(100 * done)
                on_percent(percent)

        tiled = self._engine.tiled(fitting, scratch, self._overlap, report)
        plan = tiled.plan(height, width)
        if plan != self._noted:
            note(f"{width}×{height} pixels in {flagged(plan)}", self._quiet)
            self._noted = plan
        return tiled
