"""The work of ``dfsq upscale``: which files become which, and one file after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import note
from cli.loading import flagged
from cli.progress import Report
from dfsq.errors import UsageError
from dfsq.files import make_folder
from dfsq.plurals import counted

if TYPE_CHECKING:
    from dfsq.engines.engine import Engine


def jobs_of(inputs: Sequence[Path], output: Path, quiet: bool) -> list[tuple[Path, Path]]:
    """Images and videos to read, each with the file to write; makes the folder ``output`` where it is one."""
    from dfsq.images.files import scan
    from dfsq.images.naming import output_names
    from dfsq.images.opening import IMAGE_SUFFIXES, READABLE
    from dfsq.images.picture import LOSSLESS
    from dfsq.images.video import VIDEO_SUFFIXES, check_output, is_video

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
    if output.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) and not output.is_dir():
        if len(sources) > 1 or inputs[0].is_dir():
            raise UsageError(f"--output {output} is one file; name a folder for the images of a folder, or for several")
        if is_video(inputs[0]):
            check_output(output)
        elif is_video(output):
            raise UsageError(f"--output {output} is a video, and {inputs[0]} is none; choose {', '.join(LOSSLESS)}")
        elif output.suffix.lower() not in LOSSLESS:
            raise UsageError(f"--output {output}: no format that keeps what was gained; choose {', '.join(LOSSLESS)}")
        return [(next(iter(sources)), output)]
    make_folder(output)
    return [(source, output / name) for source, name in zip(sources, output_names(list(sources)), strict=True)]


def files_of(jobs: Sequence[tuple[Path, Path]], number: int) -> str:
    """``number`` with what ``jobs`` are about: ``3 images``."""
    from dfsq.images.video import is_video

    word = "file" if any(is_video(source) for source, _ in jobs) else "image"
    return counted(number, word)


class Upscaler:
    """An engine that upscales files, in tiles where they need that."""

    def __init__(
        self,
        engine: Engine,
        tile: int | str,
        overlap: int | None,
        scratch: Path | None,
        quiet: bool,
        advance: Report,
    ) -> None:
        self._engine = engine
        self._tile = tile
        self._overlap = overlap
        self._scratch = scratch
        self._quiet = quiet
        self._advance = advance
        self._noted = ""

    def upscale(self, source: Path, target: Path) -> None:
        """Upscale one file, image or video."""
        from dfsq.images.video import is_video

        if is_video(source):
            self._upscale_video(source, target)
        else:
            self._upscale_image(source, target)

    def _upscale_image(self, source: Path, target: Path) -> None:
        from dfsq.evaluation.upscaling import upscale_image
        from dfsq.images.picture import Picture, check_depth, read_picture, write_picture

        picture = read_picture(source)
        if picture.frames > 1:
            note(f"{source}: the first of {picture.frames} frames or pages", self._quiet)
        check_depth(target, picture)
        height, width = picture.pixels.shape[:2]
        pixels = upscale_image(self._engine_for(height, width, target), picture.pixels)
        write_picture(target, Picture(pixels, picture.colour_profile))

    def _upscale_video(self, source: Path, target: Path) -> None:
        from dfsq.evaluation.upscaling import upscale_image
        from dfsq.images.video import Frame, convert

        engines: dict[tuple[int, ...], Engine] = {}

        def change(frame: Frame) -> Frame:
            height, width = frame.shape[:2]
            if (height, width) not in engines:  # chosen once: how much memory is free changes meanwhile
                engines[height, width] = self._engine_for(height, width, target)
            return upscale_image(engines[height, width], frame)

        convert(
            source,
            target,
            change,
            lambda done, total: self._advance("frames of one", done, total),
            lambda line: note(line, self._quiet),
        )

    def _engine_for(self, height: int, width: int, target: Path) -> Engine:
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
                self._advance("tiles of one", percent, 100)

        tiled = self._engine.tiled(fitting, self._scratch or target.parent, self._overlap, report)
        plan = tiled.plan(height, width)
        if plan != self._noted:
            note(f"{width}×{height} pixels in {flagged(plan)}", self._quiet)
            self._noted = plan
        return tiled
