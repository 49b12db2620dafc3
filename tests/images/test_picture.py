"""Every kind of picture is read right, by ``read_picture`` and ``read_image`` alike."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dfsq.errors import ImageError
from dfsq.images.files import read_image
from dfsq.images.picture import read_picture

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = RGB[:, :, :1]
ALPHA = RGB[:, :, 1:2]
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 5, 4), dtype=np.uint16)
RED = np.full((6, 5, 3), (255, 0, 0), np.uint8)


def tiff(pixels: np.ndarray, photometric: int, *, extra: int | None = None, kind: int = 1, turned: int = 1) -> bytes:
    """A plain TIFF, as Pillow writes none: ``extra`` tells the last channel, ``kind`` unsigned, signed or float."""
    height, width, channels = pixels.shape
    bits = pixels.dtype.itemsize * 8
    words = {258: [bits] * channels, 339: [kind] * channels} | ({338: [extra]} if extra is not None else {})
    single = {256: width, 257: height, 259: 1, 262: photometric, 273: 0, 274: turned, 277: channels, 278: height}
    entries = {**words, **{tag: [value] for tag, value in single.items()}, 279: [pixels.nbytes]}
    start = 8 + 2 + 12 * len(entries) + 4
    beyond = b""
    body = b""
    place = start + sum(2 * len(values) for values in entries.values() if len(values) > 2)
    for tag in sorted(entries):
        values = [place] if tag == 273 else entries[tag]
        content = struct.pack(f"<{len(values)}H", *values)
        if len(content) > 4:
            content, beyond = struct.pack("<I", start + len(beyond)), beyond + content
        body += struct.pack("<HHI", tag, 3, len(values)) + content.ljust(4, b"\0")
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0" * 4 + beyond + pixels.tobytes()


def png(pixels: np.ndarray, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG with more chunks."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def orientation(number: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, number, 0) + b"\0" * 4


def image(mode: str, pixels: np.ndarray) -> Image.Image:
    size = (pixels.shape[1], pixels.shape[0])
    return Image.frombytes(mode, size, np.ascontiguousarray(pixels).tobytes())


def palette(*, mode: str = "P", transparency: object = None) -> Callable[[Path], None]:
    """Pixel values are rows of a palette that holds RGB's own colours."""

    def save(path: Path) -> None:
        picture = Image.new(mode, (5, 6))
        picture.putpalette(RGB.tobytes())
        indices = np.arange(30, dtype=np.uint8).reshape(6, 5, 1)
        if mode == "PA":
            picture = image("PA", np.dstack([indices, ALPHA]))
            picture.putpalette(RGB.tobytes())
        else:
            picture.frombytes(indices.tobytes())
        picture.save(path, **({} if transparency is None else {"transparency": transparency}))

    return save


def saved(mode: str, pixels: np.ndarray, **options: object) -> Callable[[Path], None]:
    return lambda path: image(mode, pixels).save(path, **options)


def raw(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


def opaque_but(*indices: int) -> np.ndarray:
    alpha = np.full((6, 5, 1), 255, np.uint8)
    alpha.reshape(-1)[list(indices)] = 0
    return alpha


FIRST = tuple(int(value) for value in RGB[0, 0])
BITS = np.where(GREY > 128, 255, 0).astype(np.uint8)
DEEP_FIRST = (DEEP[:, :, :1] != DEEP[0, 0, 0]) * np.uint16(65535)
MODES = {
    "1.png": (lambda path: Image.fromarray(BITS[:, :, 0]).convert("1").save(path), BITS),
    "L.png": (saved("L", GREY), GREY),
    "L-transparent.png": (
        saved("L", GREY, transparency=int(GREY[0, 0, 0])),
        np.dstack([GREY, (GREY[0, 0] != GREY) * 255]),
    ),
    "LA.png": (saved("LA", np.dstack([GREY, ALPHA])), np.dstack([GREY, ALPHA])),
    "LA.tif": (saved("LA", np.dstack([GREY, ALPHA])), np.dstack([GREY, ALPHA])),
    "La.tif": (raw(tiff(np.dstack([GREY, ALPHA | 255]), 1, extra=1)), np.dstack([GREY, ALPHA | 255])),
    "P.png": (palette(), RGB),
    "P.gif": (palette(), RGB),
    "P-transparent.png": (palette(transparency=3), np.dstack([RGB, opaque_but(3)])),
    "P-alpha.png": (palette(transparency=b"\0\xff\0"), np.dstack([RGB, opaque_but(0, 2)])),
    "PA.tif": (palette(mode="PA"), np.dstack([RGB, ALPHA])),
    "RGB.bmp": (saved("RGB", RGB), RGB),
    "RGB.ppm": (saved("RGB", RGB), RGB),
    "RGB.tga": (saved("RGB", RGB), RGB),
    "RGB.jp2": (saved("RGB", RGB, irreversible=False), RGB),
    "RGB-transparent.png": (saved("RGB", RGB, transparency=FIRST), np.dstack([RGB, opaque_but(0)])),
    "RGBX.tif": (raw(tiff(np.dstack([RGB, ALPHA]), 2, extra=0)), RGB),
    "RGBA.png": (saved("RGBA", np.dstack([RGB, ALPHA])), np.dstack([RGB, ALPHA])),
    "RGBA.webp": (saved("RGBA", np.dstack([RGB, ALPHA]), lossless=True, exact=True), np.dstack([RGB, ALPHA])),
    "RGBa.tif": (raw(tiff(np.dstack([RGB, ALPHA | 255]), 2, extra=1)), np.dstack([RGB, ALPHA | 255])),
    "CMYK.tif": (saved("CMYK", np.full((6, 5, 4), (0, 255, 255, 0), np.uint8)), RED),
    "CMYK.jpg": (saved("CMYK", np.full((6, 5, 4), (0, 255, 255, 0), np.uint8), quality=100), RED),
    "YCbCr.tif": (saved("YCbCr", np.full((6, 5, 3), (76, 85, 255), np.uint8)), RED),
    "LAB.tif": (raw(tiff(np.full((6, 5, 3), (138, 81, 70), np.uint8), 8)), RED),  # CIE Lab of sRGB's red at D50
    "I16.png": (raw(png(DEEP[:, :, :1], 0)), DEEP[:, :, :1]),
    "I16.tif": (raw(tiff(DEEP[:, :, :1], 1)), DEEP[:, :, :1]),
    "I16.pgm": (raw(b"P5 5 6 65535\n" + DEEP[:, :, :1].astype(">u2").tobytes()), DEEP[:, :, :1]),
    "I16-transparent.png": (
        raw(png(DEEP[:, :, :1], 0, (b"tRNS", DEEP[0, 0, :1].astype(">u2").tobytes()))),
        np.dstack([DEEP[:, :, :1], DEEP_FIRST]),
    ),
    "LA16.png": (raw(png(DEEP[:, :, :2], 4)), DEEP[:, :, :2]),
    "RGB16.png": (raw(png(DEEP[:, :, :3], 2)), DEEP[:, :, :3]),
    "RGB16.tif": (raw(tiff(DEEP[:, :, :3], 2)), DEEP[:, :, :3]),
    "RGB16.ppm": (raw(b"P6 5 6 65535\n" + DEEP[:, :, :3].astype(">u2").tobytes()), DEEP[:, :, :3]),
    "RGBA16.png": (raw(png(DEEP, 6)), DEEP),
    "RGBA16.tif": (raw(tiff(DEEP, 2, extra=2)), DEEP),
    "RGBX16.tif": (raw(tiff(DEEP, 2, extra=0)), DEEP[:, :, :3]),
}
"""File names, how they are written, and the pixels they stand for."""
NEEDS_OPENCV = {"LA16.png", "RGB16.png", "RGB16.tif", "RGB16.ppm", "RGBA16.png", "RGBA16.tif", "RGBX16.tif"}


@pytest.mark.parametrize("name", MODES)
def test_every_kind_of_pixels(tmp_path: Path, name: str) -> None:
    if name in NEEDS_OPENCV:
        pytest.importorskip("cv2")
    write, expected = MODES[name]
    write(tmp_path / name)
    pixels = read_picture(tmp_path / name).pixels
    assert (pixels.dtype, pixels.shape) == (expected.dtype if expected.dtype == np.uint16 else np.uint8, expected.shape)
    tolerance = 5 if expected is RED else 0  # colours that are converted
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= tolerance
    # In eight bits: grey in every channel, no transparency.
    rgb = pixels[:, :, [0, 0, 0]] if pixels.shape[2] < 3 else pixels[:, :, :3]
    assert np.array_equal(read_image(tmp_path / name), np.rint(rgb / (257 if pixels.dtype == np.uint16 else 1)))


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("float-grey.tif", tiff(np.ones((6, 5, 1), np.float32), 1, kind=3), "holds floating-point values"),
        ("float-colour.tif", tiff(np.ones((6, 5, 3), np.float32), 2, kind=3), "floating-point colour"),
        ("float.pfm", b"Pf 2 2 -1.0\n" + np.ones(4, "<f4").tobytes(), "holds floating-point values"),
        ("long.tif", tiff(np.ones((6, 5, 1), np.uint32), 1), "holds integers of 32 bits"),
        ("signed.tif", tiff(np.ones((6, 5, 1), np.int16), 1, kind=2), "holds integers of 32 bits or with a sign"),
        ("inverted.tif", tiff(DEEP[:, :, :1], 0), "inverted grey"),
        ("premultiplied.tif", tiff(DEEP, 2, extra=1), "multiplied by its transparency"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_picture])
def test_values_that_are_no_picture_are_refused(
    tmp_path: Path, read: Callable[[Path], object], name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{name}.*{reason}.*convert it to") as raised:
        read(tmp_path / name)
    assert "\n" not in str(raised.value)


EXIF = {number: b"Exif\0\0" + orientation(number) for number in range(1, 9)}
TURNED: dict[str, Callable[[Path, int], object]] = {
    "a.png": lambda path, turned: Image.fromarray(RGB).save(path, exif=EXIF[turned]),
    "a.tif": lambda path, turned: path.write_bytes(tiff(RGB, 2, turned=turned)),
    "a.webp": lambda path, turned: Image.fromarray(RGB).save(path, lossless=True, exif=EXIF[turned]),
    "a.avif": lambda path, turned: Image.fromarray(RGB).save(path, exif=EXIF[turned]),
    "a.jpg": lambda path, turned: Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))).save(
        path, quality=100, subsampling=0, exif=EXIF[turned]
    ),
    "grey.tif": lambda path, turned: path.write_bytes(tiff(GREY, 1, turned=turned)),
    "rgba.tif": lambda path, turned: path.write_bytes(tiff(np.dstack([RGB, ALPHA]), 2, extra=2, turned=turned)),
    "packed.tif": lambda path, turned: Image.fromarray(RGB).save(path, compression="tiff_lzw", tiffinfo={274: turned}),
    "grey16.png": lambda path, turned: path.write_bytes(png(DEEP[:, :, :1], 0, (b"eXIf", orientation(turned)))),
    "grey16.tif": lambda path, turned: path.write_bytes(tiff(DEEP[:, :, :1], 1, turned=turned)),
    "deep.png": lambda path, turned: path.write_bytes(png(DEEP[:, :, :3], 2, (b"eXIf", orientation(turned)))),
    "deep.tif": lambda path, turned: path.write_bytes(tiff(DEEP[:, :, :3], 2, turned=turned)),
}
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    # The EXIF standard says where the stored row 0 and column 0 belong: 6 is "right, top", and so on.
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.fliplr(np.rot90(stored, -1)),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.fliplr(np.rot90(stored, 1)),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("name", TURNED)
def test_orientation(tmp_path: Path, name: str) -> None:
    if name.startswith("deep"):
        pytest.importorskip("cv2")
    TURNED[name](tmp_path / name, 1)
    stored = read_picture(tmp_path / name).pixels
    for number, upright in UPRIGHT.items():
        TURNED[name](tmp_path / name, number)
        assert np.array_equal(read_picture(tmp_path / name).pixels, upright(stored)), number


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(space: str) -> bytes:
    content = bytearray(SRGB)
    content[16:20] = space.encode()
    return bytes(content)


@pytest.mark.parametrize(
    "mode, suffix, space, kept",
    [
        ("RGB", "png", "RGB ", True),
        ("RGBA", "png", "RGB ", True),
        ("P", "png", "RGB ", True),
        ("RGB", "jpg", "RGB ", True),
        ("L", "png", "GRAY", True),
        ("LA", "png", "GRAY", True),
        ("RGB", "png", "Lab ", False),
        ("RGB", "tif", "CMYK", False),
        ("RGB", "png", "GRAY", False),
        ("L", "png", "Lab ", False),
        ("L", "png", "RGB ", False),
        ("CMYK", "jpg", "CMYK", False),
        ("CMYK", "tif", "RGB ", False),
        ("LAB", "tif", "Lab ", False),
        ("LAB", "tif", "RGB ", False),
    ],
)
def test_colour_profiles_of_other_channels_are_dropped(
    tmp_path: Path, mode: str, suffix: str, space: str, kept: bool
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).convert(mode).save(path, icc_profile=profile(space))
    assert read_picture(path).colour_profile == (profile(space) if kept else None)


def test_a_profile_that_is_none_is_dropped(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.jpg", icc_profile=b"none")
    assert read_picture(tmp_path / "a.jpg").colour_profile is None


@pytest.mark.parametrize("suffix, options", [("gif", {}), ("png", {}), ("tif", {}), ("webp", {"lossless": True})])
def test_the_first_of_several_frames(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    frames = [Image.fromarray(each) for each in (RED, 255 - RED, RED // 2)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    picture = read_picture(tmp_path / f"a.{suffix}")
    assert picture.frames == 3
    assert np.array_equal(picture.rgb, RED)


def test_what_a_phone_appends_is_no_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(each) for each in (RED, 255 - RED)]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.frames == 1
    assert np.abs(picture.rgb.astype(int) - RED).max() < 4
