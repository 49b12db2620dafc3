"""``dfsq upscale``: the network at work, on files, folders and images larger than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import completion
from cli.console import note, print_text, tell
from cli.engines import check_engine, engine_options, in_torch, open_engine
from cli.loading import checkpoint_options
from cli.options import common_options, compile_option, prepare, quiet_option
from cli.outputs import check_outputs
from cli.progress import progress
from cli.upscaling import Upscaler, files_of, jobs_of
from cli.values import Number
from dfsq import distributed, limits
from dfsq.engines.registry import AUTO
from dfsq.errors import DfsqError, ImageError, UsageError
from dfsq.extras import require


@click.command()
@click.argument("model", shell_complete=completion.models)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write into; with one input, a file name works too.",
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
@click.option("--skip-existing", is_flag=True, help="Leave out what has been written already.  [default: off]")
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
    skip_existing: bool,
    engine: str | None,
    precision: str,
    device: str,
    compile_: bool | None,
    quiet: bool,
    **overrides: Any,
) -> None:
    """Upscale images and videos with MODEL, a checkpoint, an artifact or a graph (.onnx, OpenVINO's .xml).

    A folder stands for all images in it. Names, transparency, grey and 16 bits are kept; JPEG, GIF, AVIF and what else
    loses becomes PNG: a.jpg becomes a.png, or a.jpg.png where an a.png is there as well. Tiles change no pixel, but for
    windows of a network that looks at the whole image. Videos (pip install 'dfsq[video]') are named one by one; frames
    keep their times and audio is copied, to .mp4, .mov or .mkv.

    \b
    dfsq upscale model-w4a4.safetensors photo.png -o large.png
    dfsq upscale model-w4a4.safetensors frames/ -o large/
    dfsq upscale model.pth frames/ -o large/ --engine openvino
    dfsq upscale model.pth clip.mp4 -o large.mp4
    """
    from dfsq.images.video import is_video

    if isinstance(tile, int) and device != "cpu":
        raise click.UsageError(f"--tile {tile} works on the CPU; leave it out, or --device {device}")

    check_engine(engine, [model], device=device != "cpu", compile=bool(compile_), scratch=scratch is not None)
    if overlap is not None and in_torch(engine, [model]):
        raise click.UsageError(
            f"--overlap {overlap} is for windows; torch works in strips, which change no pixel: leave it out"
        )

    jobs = jobs_of(inputs, output, quiet)
    check_outputs([model, *(str(source) for source, _ in jobs)], [target for _, target in jobs], [])
    left = [(source, target) for source, target in jobs if not (skip_existing and target.exists())]
    if not left:
        one = len(jobs) == 1
        print_text(
            f"{jobs[0][1]} is there already\n" if one else f"{output} has all {files_of(jobs, len(jobs))} already\n"
        )
        return
    if len(left) < len(jobs):
        note(f"{len(jobs) - len(left)} of {files_of(jobs, len(jobs))} are in {output} already", quiet)
    if any(is_video(source) for source, _ in left):
        require("av", "video")
    device = prepare(device, compile_, quiet)
    opened = open_engine(model, quiet, engine, precision, device=device, **overrides)
    if device != "cpu":
        note("every image is upscaled whole; tiles work on the CPU", quiet)
    with progress(quiet) as advance:
        upscaler = Upscaler(opened, tile, overlap, scratch, quiet, advance)

        def run(job: tuple[int, tuple[Path, Path]]) -> bool:
            done, (source, target) = job
            advance("files", done, len(left))
            try:
                upscaler.upscale(source, target)
            except (ImageError, UsageError) as error:
                if len(left) == 1:
                    raise
                tell(str(error) if str(source) in str(error) else f"{source}: {error}")
                return False
            return True

        succeeded = distributed.share(list(enumerate(left)), run)
        advance("files", len(left), len(left))
    if not all(succeeded):
        failed = succeeded.count(False)
        raise DfsqError(f"{failed} of {files_of(left, len(left))} could not be upscaled, the others are in {output}")
    print_text(f"Wrote {left[0][1]}\n" if len(left) == 1 else f"Wrote {output} ({files_of(left, len(left))})\n")
