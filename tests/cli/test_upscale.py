"""``dfsq upscale``: what is kept of a file, where results go, and what is refused."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from dfsq.engines import memory
from dfsq.evaluation import bicubic
from dfsq.evaluation.upscaling import upscale_image
from dfsq.images.picture import Picture, read_picture, write_picture
from dfsq.model import SRModel

SMOOTH = np.kron(np.random.default_rng(0).integers(0, 256, (6, 8, 4)), np.ones((8, 8, 1))).astype(np.uint8)
RGB = SMOOTH[:, :, :3]


def save(path: str, pixels: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_picture(Path(path), Picture(pixels))


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_colour(dfsq: Callable, plausible_model: SRModel, suffix: str) -> None:
    save(f"in.{suffix}", RGB)
    run = dfsq("upscale", "model.pth", f"in.{suffix}", "-o", f"out.{suffix}")
    assert (run.code, run.out) == (0, f"Wrote out.{suffix}\n")
    assert np.array_equal(np.asarray(Image.open(f"out.{suffix}")), upscale_image(plausible_model, RGB))


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("1", "L"),
        ("L", "L"),
        ("LA", "LA"),
        ("P", "RGB"),
        ("P", "RGBA"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("I;16", "I;16"),
    ],
)
def test_kinds_of_images(dfsq: Callable, mode: str, result: str) -> None:
    if mode == "I;16":
        Image.fromarray(SMOOTH[:, :, 0] * np.uint16(257)).save("in.png")
    else:
        Image.fromarray(SMOOTH if "A" in result else RGB).convert(mode).save("in.png")
    assert dfsq("upscale", "model.pth", "in.png", "-o", "out.png").code == 0
    written = Image.open("out.png")
    assert (written.mode, written.size) == (result, (128, 96))


def test_grey_is_the_mean_of_the_channels(dfsq: Callable, plausible_model: SRModel) -> None:
    save("grey.png", RGB[:, :, :1])
    dfsq("upscale", "model.pth", "grey.png", "-o", "out.png")
    colour = upscale_image(plausible_model, np.repeat(RGB[:, :, :1], 3, axis=2))
    inside = np.all((colour > 0) & (colour < 255), axis=2)  # where clamping comes before or after the mean alike
    difference = read_picture(Path("out.png")).pixels[:, :, 0] - colour.mean(2)
    assert inside.any()
    assert np.abs(difference[inside]).max() <= 1


def test_transparency_is_enlarged_bicubically(dfsq: Callable, plausible_model: SRModel) -> None:
    tall = np.tile(SMOOTH, (12, 1, 1))  # more rows than are enlarged together
    save("in.png", tall)
    dfsq("upscale", "model.pth", "in.png", "-o", "out.png")
    pixels = read_picture(Path("out.png")).pixels
    assert np.array_equal(pixels[:, :, :3], upscale_image(plausible_model, tall[:, :, :3]))
    expected = bicubic.upscale(tall[:, :, 3:].astype(np.float64), 2)
    assert np.abs(pixels[:, :, 3:] - np.clip(expected, 0, 255)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits(dfsq: Callable, name: str, channels: int) -> None:
    pytest.importorskip("cv2")
    save(name, SMOOTH[:, :, :channels] * np.uint16(257))
    save("flat.png", SMOOTH[:, :, :channels])
    assert dfsq("upscale", "model.pth", name, "flat.png", "-o", "out").code == 0
    deep, flat = (read_picture(Path("out") / each).pixels for each in (name, "flat.png"))
    assert (deep.dtype, deep.shape) == (np.uint16, flat.shape)
    assert np.abs(deep / 257 - flat).max() <= 0.51
    assert np.any(deep % 257)


def test_sixteen_bit_colour_without_opencv(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    save("deep.png", RGB * np.uint16(257))
    monkeypatch.setitem(sys.modules, "cv2", None)
    run = dfsq("upscale", "model.pth", "deep.png", "-o", "out.png")
    assert run.code == 1
    assert run.err == "dfsq: deep.png has 16-bit colour, which needs OpenCV; pip install 'dfsq[images]'\n"


def test_colour_profile_is_kept(dfsq: Callable) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save("in.jpg", icc_profile=profile)
    dfsq("upscale", "model.pth", "in.jpg", "-o", "out.png")
    assert Image.open("out.png").info["icc_profile"] == profile


def test_folder_keeps_names(dfsq: Callable) -> None:
    for name in ("frames/f2.png", "frames/f10.PNG", "frames/f3.tif"):
        save(name, RGB)
    Image.fromarray(RGB).save("frames/f4.jpg")
    Path("frames/notes.txt").write_text("no image")
    run = dfsq("upscale", "model.pth", "frames", "-o", "new/out")
    assert (run.code, run.out) == (0, "Wrote new/out (4 images)\n")
    assert sorted(path.name for path in Path("new/out").iterdir()) == ["f10.PNG", "f2.png", "f3.tif", "f4.png"]
    again = dfsq("upscale", "model.pth", "frames/f4.jpg", "-o", "new/out")
    assert (again.code, again.out) == (0, "Wrote new/out/f4.png\n")


def test_what_is_there_can_be_skipped(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("frames/a.png", "frames/b.png", "frames/c.png"):
        save(name, RGB)
    Path("out").mkdir()
    Path("out/b.png").write_bytes(b"mine")
    run = dfsq("upscale", "model.pth", "frames", "-o", "out", "--skip-existing")
    assert (run.code, run.out, run.err) == (0, "Wrote out (2 images)\n", "1 of 3 images are in out already\n")
    assert Path("out/b.png").read_bytes() == b"mine"
    assert read_picture(Path("out/a.png")).pixels.shape == (96, 128, 3)
    monkeypatch.setattr("dfsq.engine", lambda *_, **__: pytest.fail("the network is loaded for nothing"))
    run = dfsq("upscale", "model.pth", "frames", "-o", "out", "--skip-existing")
    assert (run.code, run.out, run.err) == (0, "out has all 3 images already\n", "")
    run = dfsq("upscale", "model.pth", "frames/a.png", "-o", "out/a.png", "--skip-existing")
    assert (run.code, run.out) == (0, "out/a.png is there already\n")


def test_without_skipping_what_is_there_is_written_again(dfsq: Callable) -> None:
    save("in.png", RGB)
    Path("out.png").write_bytes(b"mine")
    assert dfsq("upscale", "model.pth", "in.png", "-o", "out.png").code == 0
    assert read_picture(Path("out.png")).pixels.shape == (96, 128, 3)


def test_tiles_change_no_byte(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png", np.tile(SMOOTH, (3, 3, 1)))
    whole = dfsq("upscale", "model.pth", "in.png", "-o", "whole.png")
    assert whole.err == ""
    run = dfsq("upscale", "model.pth", "in.png", "-o", "tiled.png", "--tile", "10", "--scratch", "photos")
    assert "strips of 10 rows; photos needs" in run.err
    assert Path("tiled.png").read_bytes() == Path("whole.png").read_bytes()
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000_000)
    run = dfsq("upscale", "model.pth", "in.png", "-o", "auto.png")
    assert "in strips of" in run.err
    assert Path("auto.png").read_bytes() == Path("whole.png").read_bytes()
    assert dfsq("upscale", "model.pth", "in.png", "-o", "auto.png", "--quiet").err == ""


def test_one_bad_frame_does_not_stop_the_rest(dfsq: Callable) -> None:
    for name in ("frames/a.png", "frames/c.png"):
        save(name, RGB)
    Path("frames/b.png").write_bytes(Path("frames/a.png").read_bytes()[:100])
    run = dfsq("upscale", "model.pth", "frames", "-o", "out")
    assert run.code == 1
    first, last = run.err.splitlines()
    assert first.startswith("dfsq: frames/b.png is no readable image")
    assert last == "dfsq: 1 of 3 images could not be upscaled, the others are in out"
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "c.png"]


def animation(path: str, **options: object) -> None:
    frames = [Image.fromarray(each) for each in (RGB, 255 - RGB)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


def test_a_folder_as_people_have_it(dfsq: Callable, plausible_model: SRModel) -> None:
    """Every picture is upscaled, or passed over with a reason and counted; nothing stops the rest."""
    expected = upscale_image(plausible_model, RGB)
    exact = {  # what the first input becomes, and the others that hold the same pixels
        "in/plain.png": "plain.png",
        "in/UPPER.PNG": "UPPER.PNG",
        "in/webp_as.jpg": "webp_as.png",
        "in/p.ppm": "p.png",
        "in/t.tga": "t.png",
        "in/no suffix": "no suffix.png",
        "in/-dash.png": "-dash.png",
        "in/[glob] 100%20 ünï 画像.png": "[glob] 100%20 ünï 画像.png",
        "in/same.png": "same.png",
        "in/same.ppm": "same.ppm.png",
        "in/same.tga": "same.tga.png",
        "other/plain.png": "plain-2.png",
    }
    for source in exact:
        Path(source).parent.mkdir(exist_ok=True)
        kind = {".ppm": "PPM", ".tga": "TGA", ".jpg": "WEBP"}.get(Path(source).suffix, "PNG")
        Image.fromarray(RGB).save(source, kind, **({"lossless": True} if kind == "WEBP" else {}))
    animation("in/anim.webp", lossless=True)
    animation("in/pages.tif")
    for name in ("._plain.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "empty.png"):
        Path("in", name).touch()
    Path("in/cut.png").write_bytes(Path("in/plain.png").read_bytes()[:200])
    Path("in/wide.bmp").write_bytes(b"")
    save("deep.png", RGB[:, :, :1] * np.uint16(257))
    Path("deep.png").rename("in/deep.bmp")  # 16 bits, which BMP cannot hold
    Path("in/folder.png").mkdir()
    Path("in/dangling.png").symlink_to("nowhere.png")
    os.mkfifo("in/pipe.png")

    run = dfsq("upscale", "model.pth", "in", "other", "other/plain.png", "-o", "out")

    written = {path.name for path in Path("out").iterdir()}
    assert written == {*exact.values(), "anim.webp", "pages.tif"}
    for name in written:
        assert np.array_equal(read_picture(Path("out") / name).pixels, expected), name
    assert run.code == 1
    assert sorted(run.err.splitlines()) == sorted(
        [
            "in: passed over 2 that are no images: folder.png/, notes.txt",
            "in/anim.webp: the first of 2 frames or pages",
            "in/pages.tif: the first of 2 frames or pages",
            "dfsq: in/dangling.png does not exist",
            "dfsq: in/pipe.png is a pipe or a device; name an image file",
            *(f"dfsq: in/{name} is no readable image ({why}); remove or replace it" for name, why in BROKEN.items()),
            "dfsq: in/deep.bmp: out/deep.bmp: this format has 8 bits, the image 16; choose .png, .tif, .tiff",
            "dfsq: 6 of 20 images could not be upscaled, the others are in out",
        ]
    )


BROKEN = {"empty.png": "it is empty", "wide.bmp": "it is empty", "cut.png": "image file is truncated"}


def test_an_image_too_small_for_the_network_is_passed_over(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfsq.networks.edsr import EDSR

    def narrow(_self: object, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, scale_factor=2) + 0 * torch.nn.functional.max_pool2d(x, 8, 1).mean()

    for name, side in (("a", 1), ("b", 12)):
        save(f"in/{name}.png", RGB[:side, :side])
    monkeypatch.setattr(EDSR, "forward", narrow)
    run = dfsq("upscale", "model.pth", "in", "-o", "out", "--tile", "9999")
    assert run.code == 1
    assert "in/a.png: 1×1 pixels are too few for this network (" in run.err
    assert [path.name for path in Path("out").iterdir()] == ["b.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.png -o out.png", "'nowhere.png' does not exist"),
        ("rgb.png", "Missing option '-o'"),
        ("rgb.png -o rgb.png", "rgb.png is an input"),
        ("same -o same", "same/rgb.png is an input"),
        ("rgb.png -o out.jpg", "no format that keeps what was gained; choose .png"),
        ("rgb.png -o out.gif", "no format that keeps what was gained; choose .png"),
        ("rgb.png same -o out.png", "name a folder"),
        ("same -o out.png", "name a folder"),
        ("empty -o out", "no images in empty"),
        ("rgb.png -o out.png --tile 0", "choose 1 to"),
        ("rgb.png -o out.png --tile some", "neither a number nor 'auto'"),
        ("rgb.png -o out.png --tile 8 --device meta", "works on the CPU"),
        ("rgb.png -o out.png --scratch rgb.png", "is a file"),
        ("grey16.png -o out.bmp", "choose .png"),
    ],
)
def test_usage_errors(dfsq: Callable, arguments: str, message: str) -> None:
    save("rgb.png", RGB)
    save("same/rgb.png", RGB)
    save("grey16.png", RGB[:, :, :1].astype(np.uint16))
    Path("empty").mkdir()
    run = dfsq("upscale", "model.pth", *arguments.split())
    assert (run.code, run.out) == (2, "")
    assert message in run.err.splitlines()[-1]
    assert not list(Path().glob("out.*"))
    assert np.array_equal(read_picture(Path("rgb.png")).pixels, RGB)


def test_full_scratch_disk(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    save("in.png", np.tile(RGB, (3, 3, 1)))
    run = dfsq("upscale", "model.pth", "in.png", "-o", "out.png", "--tile", "10", "--quiet")
    assert run.code == 1
    assert "of scratch in .: No space left on device; choose another folder with --scratch" in run.err
    assert len(run.err.splitlines()) == 1
    assert not Path("out.png").exists()


def clip(path: str, count: int = 4) -> None:
    av = pytest.importorskip("av")
    with av.open(path, "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.bit_rate = 2_000_000
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(RGB, index, axis=0), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def test_a_video(dfsq: Callable, plausible_model: SRModel) -> None:
    av = pytest.importorskip("av")
    clip("in.mp4")
    run = dfsq("upscale", "model.pth", "in.mp4", "-o", "out.mp4", "--tile", "20")
    assert (run.code, run.out) == (0, "Wrote out.mp4\n"), run.err
    assert run.err.count("strips of 20 rows") == 1
    with av.open("in.mp4") as before, av.open("out.mp4") as after:
        pairs = list(zip(before.decode(video=0), after.decode(video=0), strict=True))
        assert len(pairs) == 4
        for one, other in pairs:
            rgb = [frame.to_ndarray(format="rgb24", src_color_range=1, dst_color_range=2) for frame in (one, other)]
            error = upscale_image(plausible_model, rgb[0]).astype(float) - rgb[1]
            assert other.time == one.time
            assert np.median(np.abs(error)) < 6


def test_videos_and_images_together(dfsq: Callable) -> None:
    Path("more").mkdir()
    for name in ("a.mp4", "a.avi", "more/a.mp4"):
        clip(name, 2)
    save("a.png", RGB)
    Path("broken.mov").write_bytes(b"nothing")
    run = dfsq("upscale", "model.pth", "a.mp4", "a.avi", "more/a.mp4", "a.png", "broken.mov", "-o", "out")
    assert run.code == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["a-2.mp4", "a.mkv", "a.mp4", "a.png"]
    first, last = run.err.splitlines()
    assert first.startswith("dfsq: broken.mov is no readable video")
    assert last == "dfsq: 1 of 5 files could not be upscaled, the others are in out"
    run = dfsq("upscale", "model.pth", "a.mp4", "a.avi", "more/a.mp4", "a.png", "-o", "out", "--skip-existing")
    assert run.out == "out has all 4 files already\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("in.mp4 -o out.png", "out.png is no name for a video that is written; choose .mp4"),
        ("in.mp4 -o out.webm", "out.webm is no name for a video that is written; choose .mp4"),
        ("rgb.png -o out.mp4", "out.mp4 is a video, and rgb.png is none; choose .png"),
        ("in.mp4 rgb.png -o out.mp4", "name a folder"),
        ("in.mp4 -o in.mp4", "in.mp4 is an input"),
    ],
)
def test_outputs_that_do_not_fit_the_input(dfsq: Callable, arguments: str, message: str) -> None:
    clip("in.mp4", 1)
    save("rgb.png", RGB)
    run = dfsq("upscale", "model.pth", *arguments.split())
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    assert message in run.err


def test_a_video_without_pyav(dfsq: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.mp4").write_bytes(b"whatever")
    monkeypatch.setitem(sys.modules, "av", None)
    run = dfsq("upscale", "model.pth", "in.mp4", "-o", "out.mp4")
    assert (run.code, run.err.count("\n")) == (1, 1)
    assert "av is not installed" in run.err and "pip install 'dfsq[video]'" in run.err


def test_nothing_is_compiled_so_torchs_compiler_is_not_imported(dfsq: Callable) -> None:
    save("in.png", RGB)
    script = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main(['upscale', 'model.pth', 'in.png', '-o', 'out.png', *sys.argv[1:]])\n"
        "except SystemExit as end:\n    print(end.code, 'torch._dynamo' in sys.modules)"
    )
    for more in ([], ["--tile", "16"]):
        run = subprocess.run(
            [sys.executable, "-c", script, *more],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.splitlines() == ["Wrote out.png", "0 False"], run.stderr
