"""Videos: what is changed and what stays, against PyAV's own reading of both files."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfsq.errors import DfsqError, ImageError, UsageError
from dfsq.images.video import convert

av = pytest.importorskip("av")

COLOURS = np.array([[200, 40, 60], [30, 180, 50], [40, 70, 210], [128, 128, 128]], np.uint8)
CAREFUL = 4 | 0x2000 | 0x4000 | 0x40000
"""Flags of swscale: bicubic, whole chroma, accurate rounding."""
SAMPLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fltp": lambda wave: wave,
    "s16": lambda wave: (wave * 20000).astype(np.int16),
    "u8": lambda wave: (128 + wave * 100).astype(np.uint8),
}
NTSC = Fraction(30000, 1001)


def picture(index: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Four smooth fields of colour, which drift."""
    rows, columns = np.mgrid[:height, :width]
    fields = COLOURS[2 * (rows >= height // 2) + (columns >= width // 2)].astype(int)
    return np.clip(fields + 2 * index, 0, 255).astype(np.uint8)


def make(
    path: Path,
    *,
    times: list[int] | None = None,
    size: tuple[int, int] = (32, 48),
    audio: str | None = "aac",
    codec: str = "libx264",
    full: bool = False,
    matrix: int = 2,
) -> None:
    """A video of a frame at each of ``times``, in units of a frame, with a second or so of sound."""
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=NTSC)
        video.height, video.width, video.pix_fmt = *size, "yuv420p"
        video.codec_context.color_range, video.codec_context.colorspace = 2 if full else 1, matrix
        if codec == "libx264":
            video.options = {"crf": "4"}
        sound = output.add_stream(audio, rate=16000, layout="mono") if audio else None
        for index, time in enumerate(times or range(12)):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=1 if matrix == 1 else 5,
                src_color_range=2,
                dst_color_range=2 if full else 1,
                interpolation=CAREFUL,
            )
            frame.pts, frame.time_base = time, 1 / NTSC
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if sound is not None:
            wave = np.sin(np.arange(16 * 1024) / 9).astype(np.float32).reshape(16, 1, 1024)
            for index, part in enumerate(wave):
                pcm = SAMPLES[sound.format.name](part)
                frame = av.AudioFrame.from_ndarray(pcm, format=sound.format.name, layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, index * 1024, Fraction(1, 16000)
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))


def frames(path: Path) -> list[Any]:
    with av.open(str(path)) as file:
        return list(file.decode(video=0))


def pixels(frame: Any) -> np.ndarray:
    """As a player shows them: BT.601 below 720 rows where the frame does not say."""
    matrix = {1: 1, 5: 5, 6: 5}.get(int(frame.colorspace), 1 if frame.height >= 720 else 5)
    limits = int(frame.color_range) or 1
    return frame.reformat(format="rgb24", src_colorspace=matrix, src_color_range=limits, dst_color_range=2).to_ndarray()


def sound(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        return [(each.pts * each.time_base, bytes(each)) for each in file.demux(stream) if each.size]


def larger(scale: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda frame: np.kron(frame, np.ones((scale, scale, 1), np.uint8))


@pytest.mark.parametrize("suffix", ["mp4", "m4v", "mov", "mkv"])
def test_frames_times_rate_and_sound(tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    make(source)
    told: list[tuple[int, int]] = []
    assert convert(source, target, larger(2), lambda done, total: told.append((done, total))) == 12
    assert [done for done, _ in told] == list(range(1, 13))
    if suffix == "mkv":  # which does not say how many, and goes on as long as its sound
        assert all(total >= 12 for _, total in told)
    else:
        assert {total for _, total in told} == {12}
    before, after = frames(source), frames(target)
    assert [each.time for each in after] == pytest.approx([each.time for each in before], abs=1e-3)
    assert {(each.height, each.width) for each in after} == {(64, 96)}
    for one, other in zip(before, after, strict=True):
        difference = np.abs(larger(2)(pixels(one)).astype(int) - pixels(other))
        assert np.median(difference) <= 1  # chroma of half the size blurs the edges of the fields
        assert difference.mean() < 4
    with av.open(str(source)) as first, av.open(str(target)) as second:
        assert second.streams.video[0].average_rate == pytest.approx(first.streams.video[0].average_rate, rel=1e-3)
        assert second.streams.audio[0].codec_context.name == first.streams.audio[0].codec_context.name
    assert [data for _, data in sound(target)] == [data for _, data in sound(source)]
    assert [float(time) for time, _ in sound(target)] == pytest.approx(
        [float(time) for time, _ in sound(source)], abs=1e-3
    )


def test_a_varying_rate_stays_one(tmp_path: Path) -> None:
    times = [0, 1, 2, 7, 8, 20, 21]
    make(tmp_path / "in.mp4", times=times, audio=None)
    convert(tmp_path / "in.mp4", tmp_path / "out.mp4", larger(2))
    assert [round(each.time * NTSC) for each in frames(tmp_path / "out.mp4")] == times


@pytest.mark.parametrize(("full", "matrix", "size"), [(False, 2, (32, 48)), (True, 5, (32, 48)), (False, 1, (32, 48))])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_colours_are_those_of_the_source(
    tmp_path: Path, suffix: str, full: bool, matrix: int, size: tuple[int, int]
) -> None:
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    make(source, size=size, full=full, matrix=matrix)
    seen: list[np.ndarray] = []

    def change(frame: np.ndarray) -> np.ndarray:
        seen.append(frame)
        return larger(4)(frame)

    convert(source, target, change)
    written = frames(target)
    inside = slice(4, 12), slice(4, 20)  # of one field, where coding has no edges to blur
    for index in (0, 11):
        expected = picture(index)[inside].reshape(-1, 3).mean(0)
        assert np.abs(seen[index][inside].reshape(-1, 3).mean(0) - expected).max() < 3
        shown = pixels(written[index])[16:48, 16:80].reshape(-1, 3).mean(0)
        assert np.abs(shown - expected).max() < 4
    assert int(written[0].color_range) == (2 if full else 1)
    assert int(written[0].colorspace) == (1 if matrix == 1 else 6)


def test_small_videos_whose_matrix_is_unsaid_keep_their_colours_beyond_720_rows(tmp_path: Path) -> None:
    make(tmp_path / "in.mp4", times=[0, 1], audio=None)
    convert(tmp_path / "in.mp4", tmp_path / "out.mp4", larger(23))
    (frame, _) = frames(tmp_path / "out.mp4")
    assert frame.height == 736
    shown = pixels(frame)[100:300, 100:500].reshape(-1, 3).mean(0)
    assert np.abs(shown - COLOURS[0]).max() < 4


@pytest.mark.parametrize("crop", [(95, 143), (95, 144), (96, 143), (96, 144)])
def test_odd_sizes_are_kept(tmp_path: Path, crop: tuple[int, int]) -> None:
    make(tmp_path / "in.mp4")
    convert(tmp_path / "in.mp4", tmp_path / "out.mp4", lambda frame: larger(3)(frame)[: crop[0], : crop[1]])
    assert {(each.height, each.width) for each in frames(tmp_path / "out.mp4")} == {crop}


@pytest.mark.parametrize("codec", ["mpeg4", "libvpx"])
def test_what_is_not_written_becomes_h264_in_matroska(tmp_path: Path, codec: str) -> None:
    source = tmp_path / ("in.avi" if codec == "mpeg4" else "in.webm")
    make(source, codec=codec, audio="mp2" if codec == "mpeg4" else None)
    convert(source, tmp_path / "out.mkv", larger(2))
    assert len(frames(tmp_path / "out.mkv")) == len(frames(source)) == 12


def test_a_turned_video_is_written_upright(tmp_path: Path) -> None:
    make(tmp_path / "in.mp4", audio=None)
    content = (tmp_path / "in.mp4").read_bytes()
    plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # x' = -y, y' = x: clockwise
    track = content.index(b"tkhd")
    at = content.index(plain, track)
    (tmp_path / "in.mp4").write_bytes(content[:at] + turned + content[at + len(plain) :])
    convert(tmp_path / "in.mp4", tmp_path / "out.mp4", larger(2))
    (first, *_) = frames(tmp_path / "out.mp4")
    assert (first.height, first.width, first.rotation) == (96, 64, 0)
    expected = larger(2)(np.rot90(picture(0), -1))
    assert np.abs(pixels(first).astype(int) - expected).mean() < 6


def test_a_frame_is_gone_before_the_next_but_one_comes(tmp_path: Path) -> None:
    make(tmp_path / "in.mp4", times=list(range(40)), audio=None)
    alive: list[int] = []
    known: list[weakref.ref[np.ndarray]] = []

    def change(frame: np.ndarray) -> np.ndarray:
        result = larger(2)(frame)
        known.append(weakref.ref(result))
        known.append(weakref.ref(frame))
        alive.append(sum(each() is not None for each in known))
        return result

    convert(tmp_path / "in.mp4", tmp_path / "out.mp4", change)
    assert len(alive) == 40
    assert max(alive) <= 4


@pytest.mark.parametrize("content", [b"", b"no video" * 50, b"#EXTM3U\n#EXTINF:1,\nin.mp4\n#EXT-X-ENDLIST\n"], ids=str)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_what_is_no_video(tmp_path: Path, content: bytes, suffix: str) -> None:
    make(tmp_path / "in.mp4")
    (tmp_path / f"bad.{suffix}").write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad.{suffix} (is no readable video|has no video)") as error:
        convert(tmp_path / f"bad.{suffix}", tmp_path / "out.mp4", larger(2))
    assert "\n" not in str(error.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["in.mp4", f"bad.{suffix}"])


def test_what_lists_other_files_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "in.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile in.mp4\n")
    with pytest.raises(ImageError, match="is no readable video"):
        convert(tmp_path / "list.mp4", tmp_path / "out.mp4", larger(2))


@pytest.mark.parametrize("name", ["nowhere.mp4", "folder.mp4"])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ImageError, match="name a video"):
        convert(tmp_path / name, tmp_path / "out.mp4", larger(2))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(ImageError, match="has no video in it"):
        convert(tmp_path / "in.mp4", tmp_path / "out.mp4", larger(2))


def test_a_cut_file_is_written_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    make(tmp_path / "in.mkv", times=list(range(40)))
    content = (tmp_path / "in.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    done = convert(tmp_path / "cut.mkv", tmp_path / "out.mkv", larger(2))
    assert 0 < done < 40
    assert len(frames(tmp_path / "out.mkv")) == done


@pytest.mark.parametrize("name", ["out.webm", "out.avi", "out", "out.png"])
def test_suffixes_that_are_not_written(tmp_path: Path, name: str) -> None:
    make(tmp_path / "in.mp4")
    with pytest.raises(UsageError, match=r"choose \.mp4, \.m4v, \.mov, \.mkv"):
        convert(tmp_path / "in.mp4", tmp_path / name, larger(2))


def test_sound_that_the_format_cannot_hold(tmp_path: Path) -> None:
    make(tmp_path / "in.mkv", audio="pcm_u8")
    with pytest.raises(UsageError, match=r"cannot hold this video with its audio \(pcm_u8\); choose .mkv"):
        convert(tmp_path / "in.mkv", tmp_path / "out.mp4", larger(2))
    assert not (tmp_path / "out.mp4").exists()


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    make(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"old")
    count = 0

    def change(frame: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count == 5:
            raise ImageError("too small")
        return larger(2)(frame)

    with pytest.raises(ImageError, match="too small"):
        convert(tmp_path / "in.mp4", tmp_path / "out.mp4", change)
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "in.mp4")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(DfsqError, match=r"av is not installed .*pip install 'dfsq\[video\]'"):
        convert(tmp_path / "in.mp4", tmp_path / "out.mp4", larger(2))
