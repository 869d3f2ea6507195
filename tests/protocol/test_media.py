"""Pictures: every mode that PNG and JPEG have, every fit, every way to be damaged or too big."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import GlasslineError, MalformedBody, TensorMismatch, TooLarge
from service.manifest import ImageMedia
from service.protocol import media
from tests.protocol.manifests import SERIES, TINY

PIXELS = 1_000_000
NOISE = np.random.default_rng(7).integers(0, 256, (3, 12, 9), np.uint8)


def wanted(color: str, width: int = 2, height: int = 1, fit: str = "stretch") -> ImageMedia:
    return ImageMedia.model_validate(
        {"input": "image", "color": color, "width": width, "height": height, "fit": fit}
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, kind: int, row: bytes, *extra: bytes, width: int = 2, height: int = 1) -> bytes:
    """A PNG by hand, so that no encoder decides what is in it (RFC 2083)."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    rows = (b"\0" + row) * height
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


PALETTE = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255]))


@pytest.mark.parametrize(
    ("body", "grey", "red"),  # two pixels: as L, and the red channel as RGB; worked by hand
    [
        (png(1, 0, b"\x80"), [255, 0], [255, 0]),
        (png(2, 0, b"\x60"), [85, 170], [85, 170]),
        (png(4, 0, b"\x1f"), [17, 255], [17, 255]),
        (png(8, 0, b"\x05\xfe"), [5, 254], [5, 254]),
        # 16 bits: v / 257, rounded: 0x1234 -> 18.13, 0x80ff -> 128.49; clipping gives 255, 255.
        (png(16, 0, b"\x12\x34\x80\xff"), [18, 128], [18, 128]),
        (png(16, 0, b"\x12\xf4\xff\xff"), [19, 255], [19, 255]),
        # RGB to L: (19595 R + 38470 G + 7471 B + 2^15) >> 16 (ITU-R BT.601).
        (png(8, 2, b"\xff\0\0\0\0\xff"), [76, 29], [255, 0]),
        (png(16, 2, b"\xff\xff\0\0\0\0" + b"\0\0\0\0\xff\xff"), [76, 29], [255, 0]),
        (png(1, 3, b"\x40", PALETTE), [76, 29], [255, 0]),
        (png(8, 3, b"\0\1", PALETTE), [76, 29], [255, 0]),
        # Alpha on white: 0 -> 255; 100 at 128/255 -> 100 * .502 + 255 * .498 = 177.2.
        (png(8, 4, b"\x64\x80\x64\x00"), [177, 255], [177, 255]),
        (png(16, 4, b"\x64\x00\x80\x00\x64\x00\xff\xff"), [177, 100], [177, 100]),
        (png(8, 6, b"\x64\x64\x64\x80\0\0\0\0"), [177, 255], [177, 255]),
        (png(16, 6, b"\0\0\0\0\0\0\xff\xff" + b"\x01" * 6 + b"\0\0"), [0, 255], [0, 255]),
        # One transparent colour, at every depth.
        (png(1, 0, b"\x80", chunk(b"tRNS", b"\0\0")), [255, 255], [255, 255]),
        (png(2, 0, b"\x60", chunk(b"tRNS", b"\0\1")), [255, 170], [255, 170]),
        (png(4, 0, b"\x1f", chunk(b"tRNS", b"\0\1")), [255, 255], [255, 255]),
        (png(8, 0, b"\x05\x06", chunk(b"tRNS", b"\0\5")), [255, 6], [255, 6]),
        (png(16, 0, b"\x12\x34\x12\x35", chunk(b"tRNS", b"\x12\x34")), [255, 18], [255, 18]),
        (png(8, 2, b"\1\2\3\7\7\7", chunk(b"tRNS", b"\0\1\0\2\0\3")), [255, 7], [255, 7]),
        (
            png(16, 2, b"\x12\x34" * 3 + b"\x77\x77" * 3, chunk(b"tRNS", b"\x12\x34" * 3)),
            [255, 0x77],
            [255, 0x77],
        ),
        (png(8, 3, b"\0\1", PALETTE, chunk(b"tRNS", b"\0\xff")), [255, 29], [255, 0]),
    ],
)
def test_every_kind_of_png(body: bytes, grey: list[int], red: list[int]) -> None:
    as_grey = media.decode_image(body, wanted("L"), PIXELS)
    assert (as_grey.shape, as_grey.dtype, as_grey.flags.c_contiguous) == ((1, 1, 1, 2), np.uint8, 1)
    assert as_grey[0, 0, 0].tolist() == grey
    as_rgb = media.decode_image(body, wanted("RGB"), PIXELS)
    assert (as_rgb.shape, as_rgb.dtype, as_rgb.flags.c_contiguous) == ((1, 3, 1, 2), np.uint8, 1)
    assert as_rgb[0, 0, 0].tolist() == red


@pytest.mark.parametrize("color", ["L", "RGB"])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG"),
     ("I;16", "PNG"), ("1", "JPEG"), ("L", "JPEG"), ("RGB", "JPEG"),
     ("RGBX", "JPEG"), ("CMYK", "JPEG"), ("YCbCr", "JPEG")],
)  # fmt: skip
def test_every_mode_that_pil_can_save(mode: str, kind: str, color: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((8, 8), 257 * 200, np.uint16))
    else:
        picture = Image.new("RGB", (8, 8), (200, 200, 200))
        picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    array = media.decode_image(saved(picture, kind), wanted(color, 8, 8), PIXELS)
    assert array.shape == (1, 1 if color == "L" else 3, 8, 8)
    if mode == "1":
        assert set(np.unique(array)) <= set(range(256)) - set(range(60, 190))
    else:
        assert np.abs(array.astype(int) - 200).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "corner"),  # where the stored top left corner is shown (EXIF 2.32)
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)),
     (5, (0, 0)), (6, (0, -1)), (7, (-1, -1)), (8, (-1, 0))],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation(orientation: int, corner: tuple[int, int], kind: str) -> None:
    stored = Image.new("L", (32, 16), 0)
    stored.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = (16, 32) if orientation >= 5 else (32, 16)
    array = media.decode_image(saved(stored, kind, exif=exif), wanted("L", *upright), PIXELS)
    assert (array > 200).sum() == pytest.approx(64, abs=4)
    assert array[0, 0][corner] > 200


def test_damaged_exif_is_no_reason_to_refuse_the_pixels() -> None:
    body = saved(Image.new("L", (8, 8), 9), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert media.decode_image(body, wanted("L", 8, 8), PIXELS)[0, 0, 0, 0] == 9


@pytest.mark.parametrize("channels", [1, 3])
def test_png_there_and_back_is_bit_exact(channels: int) -> None:
    picture = NOISE[:channels]
    how = wanted("L" if channels == 1 else "RGB", 9, 12)
    for array in (picture, picture[np.newaxis]):
        decoded = media.decode_image(media.encode_png(array), how, PIXELS)
        np.testing.assert_array_equal(decoded, picture[np.newaxis], strict=True)


@pytest.mark.parametrize("size", [(5, 7), (9, 12), (20, 30), (1, 1)])
def test_stretch_is_pils_bilinear_resize(size: tuple[int, int]) -> None:
    body = media.encode_png(NOISE)
    oracle = Image.fromarray(NOISE.transpose(1, 2, 0)).resize(size, Image.Resampling.BILINEAR)
    array = media.decode_image(body, wanted("RGB", *size), PIXELS)
    np.testing.assert_array_equal(array[0].transpose(1, 2, 0), np.asarray(oracle))


@pytest.mark.parametrize(
    ("source", "target"), [((40, 20), (10, 10)), ((20, 40), (10, 10)), ((12, 8), (12, 4))]
)
def test_cover_is_short_side_then_centre_crop(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, source[::-1], np.uint8))
    scale = max(target[0] / source[0], target[1] / source[1])
    whole = picture.resize((round(source[0] * scale), round(source[1] * scale)), Image.BILINEAR)
    left, top = (whole.width - target[0]) // 2, (whole.height - target[1]) // 2
    oracle = np.asarray(whole.crop((left, top, left + target[0], top + target[1])))
    array = media.decode_image(saved(picture), wanted("L", *target, fit="cover"), PIXELS)
    assert np.abs(array[0, 0].astype(int) - oracle).max() <= 1


@pytest.mark.parametrize("fit", ["stretch", "cover"])
@pytest.mark.parametrize("size", [(1, 1_000_000), (1_000_000, 1)])
def test_a_narrow_endless_picture_is_no_bomb(size: tuple[int, int], fit: str) -> None:
    row = b"\x40" * size[0]
    body = png(8, 0, row, width=size[0], height=size[1])
    array = media.decode_image(body, wanted("L", 1000, 1000, fit), PIXELS)
    assert array.shape == (1, 1, 1000, 1000)
    assert (array == 0x40).all()


@pytest.mark.parametrize(
    ("size", "limit"),
    [((20_000, 20_000), 40_000_000), ((10_000, 10_000), 40_000_000), ((2, 1), 1)],
)
def test_declared_pixels_are_refused_before_decoding(size: tuple[int, int], limit: int) -> None:
    body = png(1, 0, b"\0", width=size[0], height=size[1])
    Image.init()
    tracemalloc.start()
    with pytest.raises(TooLarge, match="GLASSLINE_MAX_IMAGE_PIXELS"):
        media.decode_image(body, wanted("L"), limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"%PDF-1.7",
        saved(Image.new("L", (8, 8)), "GIF"),
        saved(Image.new("L", (8, 8)), "BMP"),
        saved(Image.new("L", (64, 64)), "PNG")[:-30],
        saved(Image.effect_noise((64, 64), 50), "JPEG")[:-300],
        b"\x89PNG\r\n\x1a\n\0\0\0\0IDAT",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        png(8, 0, b"", width=2, height=1),
        png(8, 0, b"\0\0", width=0, height=1),
    ],
)
def test_what_is_no_whole_picture_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody, match="wanted a whole PNG or JPEG file"):
        media.decode_image(body, wanted("L"), PIXELS)


WHOLE = [
    media.encode_png(NOISE),
    saved(Image.fromarray(NOISE.transpose(1, 2, 0)), "JPEG"),
    saved(Image.fromarray(NOISE.transpose(1, 2, 0)), "JPEG", progressive=True),
    saved(Image.fromarray(NOISE.transpose(1, 2, 0)).convert("CMYK"), "JPEG"),
    saved(Image.fromarray(NOISE.transpose(1, 2, 0)).quantize(9), "PNG", transparency=3),
    png(16, 0, bytes(range(4)), chunk(b"tRNS", b"\0\1")),
]


@settings(max_examples=600, deadline=None)
@given(
    body=st.sampled_from(WHOLE),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    keep=st.integers(0, 4000) | st.none(),
    color=st.sampled_from(["L", "RGB"]),
)
def test_damaged_pictures_give_an_array_or_a_glassline_error(
    body: bytes, edits: list[tuple[int, int]], keep: int | None, color: str
) -> None:
    damaged = bytearray(body)
    for position, value in edits:
        damaged[position % len(damaged)] = value
    try:
        array = media.decode_image(bytes(damaged[:keep]), wanted(color, 5, 4), 4096)
    except GlasslineError:
        return
    assert (array.shape, array.dtype) == ((1, 1 if color == "L" else 3, 4, 5), np.uint8)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((2, 1, 8, 8), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((1, 8, 8), np.float32),
    ],
)
def test_encode_png_takes_one_picture_only(array: Any) -> None:
    with pytest.raises(TensorMismatch, match="one picture at a time"):
        media.encode_png(array)


def test_content_types_follow_the_manifest() -> None:
    assert media.content_types(TINY) == ("image/png", "image/jpeg")
    assert media.content_types(SERIES) == ()


@pytest.mark.parametrize(
    ("mode", "size"), [("L", (5, 4)), ("L", (4, 8)), ("RGB", (8, 4)), ("LA", (8, 4)), ("1", (4, 8))]
)
def test_a_picture_of_another_size_or_mode_is_refused_where_it_must_be_exact(
    mode: str, size: tuple[int, int]
) -> None:
    board = ImageMedia(input="board", color="L", width=8, height=4, fit="exact")
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    words = f"got a picture of {size[0]} x {size[1]} pixels in mode {mode}, wanted exactly 8 x 4"
    with pytest.raises(TensorMismatch, match=words):
        media.decode_image(file.getvalue(), board, 100)
    exact = np.arange(32, dtype=np.uint8).reshape(1, 4, 8)
    file = io.BytesIO()
    Image.fromarray(exact[0] > 9).save(file, "PNG")
    two_tones = media.decode_image(file.getvalue(), board, 100)[0]
    assert np.array_equal(two_tones, np.where(exact > 9, 255, 0))
    assert np.array_equal(media.decode_image(media.encode_png(exact), board, 100)[0], exact)
