"""Writing a video beside which another one lies: its times, colours and audio."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfsq.errors import DfsqError, ImageError, UsageError

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffixes of files that are written, with FFmpeg's name of the container."""
_ENCODER = "libx264"
_QUALITY = {"crf": "16", "preset": "medium", "rc-lookahead": "10"}
"""Of the encoder: hard to tell from what it is given. The frames that it looks ahead are in memory."""
_THREADS = 4
"""Of the encoder, each of which holds frames."""
_HD = 720
"""Rows from which colours are meant as BT.709 where the file does not say."""
_UNKNOWN_RATE = Fraction(25)
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""FFmpeg's number of how a frame's colours are coded (AVColorSpace), and that of the one to convert by."""
_SAID = {1: 1, 4: 4, 5: 6, 7: 7, 9: 9}
"""The other way round."""
_LIMITED, _FULL = 1, 2
"""Ranges of luma: 16–235, which is meant where the file does not say, and 0–255."""


class Colours(NamedTuple):
    """How a frame's colours are coded, in FFmpeg's numbers."""

    matrix: int
    range: int


class Writer:
    """A video like the stream ``video``, of frames of another size, with the packets of ``audio`` streams."""

    def __init__(self, av: ModuleType, file: BinaryIO, target: Path, video: Any, audio: Sequence[Any]) -> None:
        """Write into ``file``, which is to become ``target``.

        Raises :class:`UsageError` where such a file cannot hold the audio, and :class:`DfsqError` where PyAV was built
        without the encoder.
        """
        self._av = av
        self._target = target
        self._video = video
        self._output = av.open(file, "w", format=CONTAINERS[target.suffix.lower()])
        # Flags of FFmpeg's swscale, which without them rounds towards dark.
        kinds = importlib.import_module("av.video.reformatter").Interpolation
        self._careful = kinds.BICUBIC | kinds.ACCURATE_RND | kinds.FULL_CHR_H_INT | kinds.FULL_CHR_H_INP
        self._rate = _fraction(video.average_rate) or _UNKNOWN_RATE
        self._unit = _fraction(video.time_base) or 1 / self._rate
        try:
            self._encoded = self._output.add_stream(_ENCODER, rate=self._rate)
        except ValueError as error:
            raise DfsqError(f"this PyAV cannot write H.264 ({error}); pip install av brings one that does") from error
        self._sources = tuple(audio)
        self._audio = {}
        try:
            for stream in audio:
                self._audio[stream.index] = self._output.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError) as error:
            raise self._cannot_hold() from error
        self._size: tuple[int, ...] | None = None
        self._waiting: list[Any] = []
        self._last: int | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with nullcontext() if kind is None else suppress(Exception):  # the first error is the one to tell
            self._output.close()

    def pixels_of(self, frame: Any) -> NDArray[np.uint8]:
        """The pixels of a frame of the source, uint8 RGB ``(h, w, 3)``."""
        colours = _colours_of(frame)
        rgb = frame.reformat(
            format="rgb24",
            src_colorspace=colours.matrix,
            src_color_range=colours.range,
            dst_color_range=_FULL,
            interpolation=self._careful,
        )
        pixels: NDArray[np.uint8] = rgb.to_ndarray()
        return pixels

    def copy(self, packet: Any) -> None:
        """Write a packet of audio as it is."""
        if self._size is None:
            self._waiting.append(packet)  # the size of frames comes first in a file
            return
        packet.stream = self._audio[packet.stream.index]
        self._mux([packet])

    def write(self, pixels: NDArray[np.uint8], like: Any) -> None:
        """Write ``pixels``, uint8 RGB ``(h, w, 3)``, at the time and with the coding of the frame ``like``.

        Raises :class:`ImageError` for another size than that of the frames before.
        """
        colours = _colours_of(like)
        if self._size is None:
            self._begin(pixels.shape, like, colours)
        if pixels.shape != self._size:
            raise ImageError(f"the frames of {self._video.container.name} change their size; cut it into parts")
        frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format=self._encoded.codec_context.pix_fmt,
            dst_colorspace=colours.matrix,
            src_color_range=_FULL,
            dst_color_range=colours.range,
            interpolation=self._careful,
        )
        frame.time_base, frame.pts = self._unit, self._time(like)
        if like.duration:
            frame.duration = like.duration
        self._mux(self._encoded.encode(frame))

    def finish(self) -> None:
        """Write what the encoder holds back."""
        self._mux(self._encoded.encode(None))

    def _begin(self, size: tuple[int, ...], like: Any, colours: Colours) -> None:
        self._size = size
        context = self._encoded.codec_context
        context.height, context.width = size[:2]
        # Chroma of half the size needs an even one.
        context.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        context.options, context.thread_count = dict(_QUALITY), _THREADS
        context.time_base = self._encoded.time_base = self._unit
        if ratio := _fraction(self._video.sample_aspect_ratio):
            context.sample_aspect_ratio = 1 / ratio if like.rotation % 180 else ratio
        context.colorspace, context.color_range = _SAID[colours.matrix], colours.range
        context.color_primaries, context.color_trc = like.color_primaries, like.color_trc
        try:
            self._output.start_encoding()
        except (self._av.FFmpegError, ValueError) as error:
            raise self._cannot_hold() from error
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            self.copy(packet)

    def _time(self, like: Any) -> int:
        """When a frame is shown, in units of the stream's time base: later than the one before."""
        step = max(1, round(1 / (self._rate * self._unit)))
        after = 0 if self._last is None else self._last + (1 if like.pts is not None else step)
        self._last = after if like.pts is None or (self._last is not None and like.pts < after) else int(like.pts)
        return self._last

    def _mux(self, packets: Sequence[Any]) -> None:
        try:
            self._output.mux(packets)
        except self._av.FFmpegError as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise DfsqError(f"cannot write {self._target}: {error.strerror}; choose another format or place") from error

    def _cannot_hold(self) -> UsageError:
        codecs = ", ".join(sorted({each.codec_context.name for each in self._sources})) or "none"
        return UsageError(f"{self._target}: such a file cannot hold this video with its audio ({codecs}); choose .mkv")


def _colours_of(frame: Any) -> Colours:
    """How the colours of ``frame`` are coded, or what is meant where it does not say."""
    usual = 1 if frame.height >= _HD else 5
    return Colours(_MATRICES.get(int(frame.colorspace), usual), int(frame.color_range) or _LIMITED)


def _fraction(value: Any) -> Fraction | None:
    """A rational of PyAV; None for none, which some versions have as 0."""
    return Fraction(value.numerator, value.denominator) if value else None
