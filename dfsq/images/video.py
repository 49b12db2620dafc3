"""Videos by PyAV (the extra ``dfsq[video]``): frame after frame through a function, everything else as it was.

Frames keep their times, so a varying rate stays one, and audio is copied as it is. Never more than a few frames are in
memory. What players turn, as a phone's, is written upright.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfsq.errors import ImageError, UsageError
from dfsq.extras import require
from dfsq.files import replacing
from dfsq.images.video_writer import CONTAINERS, Writer

Frame = NDArray[np.uint8]
OnFrame = Callable[[int, int], None]
"""Called with the frames that are done, and about how many there are, 0 where nothing tells."""
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".wmv", ".flv", ".3gp", ".ogv"),
)
"""File names that promise a video, in lower case."""
_READ = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,h264,hevc"
"""Containers that are read: no play lists, which name other files and addresses."""


def is_video(path: Path) -> bool:
    """Whether the name of ``path`` promises a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def check_output(path: Path) -> None:
    """Raise :class:`UsageError` where no video is written under the suffix of ``path``."""
    if path.suffix.lower() not in CONTAINERS:
        raise UsageError(f"{path} is no name for a video that is written; choose {', '.join(CONTAINERS)}")


def convert(
    source: Path,
    target: Path,
    change: Callable[[Frame], Frame],
    on_frame: OnFrame = lambda _done, _total: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> int:
    """Write ``target``, the video ``source`` with every frame changed, and return how many frames there were.

    ``change`` maps uint8 RGB ``(h, w, 3)``, upright, to one of another size, the same for all frames. What is written
    is H.264 of 8 bits. ``on_note`` is told what gets lost. Raises :class:`ImageError` for what is no video or is
    damaged, :class:`UsageError` for a ``target`` of an unknown suffix or that cannot hold the audio, and
    :class:`~dfsq.errors.DfsqError` where PyAV is not installed or ``target`` cannot be written.
    """
    check_output(target)
    av = require("av", "video")
    done = 0
    with _opened(av, source) as reader:
        video = _video_of(reader, source)
        for line in _losses(reader, video):
            on_note(f"{source}: {line}")
        total = video.frames or _estimated(reader, video)
        with replacing(target) as file, Writer(av, file, target, video, reader.streams.audio) as writer:
            for item in _demuxed(av, reader, video, source):
                if isinstance(item, av.Packet):
                    writer.copy(item)
                    continue
                writer.write(change(_upright(item, writer)), item)
                done += 1
                on_frame(done, max(total, done))
            if not done:
                raise ImageError(f"{source} is a video without frames; look into it")
            writer.finish()
    return done


@contextmanager
def _opened(av: ModuleType, source: Path) -> Iterator[Any]:
    if not source.is_file():
        raise ImageError(f"{source} {'is no regular file' if source.exists() else 'does not exist'}; name a video")
    try:
        reader = av.open(str(source), options={"format_whitelist": _READ, "protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"{source} is no readable video ({_reason(error)}); remove or replace it") from error
    with reader:
        yield reader


def _video_of(reader: Any, source: Path) -> Any:
    """The stream of ``reader`` that is the video, and no cover picture."""
    stream = reader.streams.best("video")
    if stream is None or stream.codec_context is None:
        raise ImageError(f"{source} has no video in it that can be decoded; name a video")
    stream.thread_type = "AUTO"
    return stream


def _estimated(reader: Any, video: Any) -> int:
    """About how many frames there are, 0 where nothing tells."""
    seconds = 0.0
    if video.duration is not None and video.time_base:
        seconds = video.duration * float(video.time_base)
    elif reader.duration is not None:
        seconds = reader.duration / 1e6
    return round(seconds * float(video.average_rate or 0))


def _losses(reader: Any, video: Any) -> list[str]:
    """What of a video is not written, a line each."""
    lines = []
    kinds = sorted({each.type for each in reader.streams if each.type not in ("video", "audio")})
    if kinds:
        lines.append(f"left out: {', '.join(kinds)}")
    layout = video.codec_context.format
    bits = max((component.bits for component in layout.components), default=8) if layout else 8
    if bits > 8:
        lines.append(f"its {bits} bits become 8")
    return lines


def _demuxed(av: ModuleType, reader: Any, video: Any, source: Path) -> Iterator[Any]:
    """Packets of audio and decoded frames in the order of the file."""
    audio = reader.streams.audio
    try:
        for packet in reader.demux(video, *audio):
            if packet.stream.index == video.index:
                yield from packet.decode()
            elif packet.dts is not None:  # the last one of each stream is empty
                yield packet
    except av.FFmpegError as error:
        raise ImageError(f"{source} is damaged ({_reason(error)}); mend or replace it") from error


def _upright(frame: Any, writer: Writer) -> Frame:
    """The pixels of ``frame`` as a player shows them."""
    return np.ascontiguousarray(np.rot90(writer.pixels_of(frame), round(frame.rotation / 90)))


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).partition("\n")[0].rstrip(".")
