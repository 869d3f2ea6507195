"""Bare pictures: a PNG or JPEG body to the model's input tensor, and back to PNG.

Decoding only, no arithmetic on the values: scaling and normalisation are inside the graph.
"""

from __future__ import annotations

import io
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import MalformedBody, TensorMismatch, TooLarge
from service.manifest import ImageMedia, Manifest

_FORMATS: Final = ("PNG", "JPEG")
_ORIENTATION: Final = 0x0112
#: Where PIL keeps what an orientation may stand in; most pictures have none of them.
_EXIF_SOURCES: Final = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
#: 16-bit pictures are brought to 8 bits in strips, so that they cost no 32-bit copy.
_STRIP_PIXELS: Final = 1 << 18
#: EXIF 2.32, tag 0x0112: what turns the stored picture upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


#: Pixels that stretching may hold in between; a constant, for no setting may change a tensor.
_TALL = 40_000_000


def content_types(manifest: Manifest) -> tuple[str, ...]:
    """Media types of bare bodies that the manifest can decode; empty when it takes no picture."""
    return ("image/png", "image/jpeg") if manifest.images is not None else ()


def decode_image(body: bytes, media: ImageMedia, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a picture into the model's input.

    EXIF orientation is applied, transparency lies on white, 16-bit grey is scaled to 8 bits,
    and a picture that already has the size and colour goes through bit for bit.

    Args:
        body: a PNG or JPEG file; its bytes decide which, not its media type.
        media: wanted colour, size and fit.
        max_pixels: largest width x height, looked up in the header before decoding.

    Returns:
        (1, channels, height, width), 0 to 255, C-contiguous; channels 1 for L, 3 for RGB.

    Raises:
        MalformedBody: neither PNG nor JPEG, or damaged.
        TooLarge: more than `max_pixels` pixels.
        TensorMismatch: another size or colour mode, where `media` wants it exact.
    """
    image = _open(body, max_pixels)
    try:
        image.load()
        depth = body[24] if image.format == "PNG" else 8  # IHDR is the first chunk
        upright = _upright(image)
        if media.fit == "exact":
            _check_exact(upright, media)
        picture = _fitted(_coloured(upright, depth, media.color), media)
    except (MemoryError, TensorMismatch):
        raise
    except Exception as error:  # PIL's decoders raise whatever their bytes lead them to
        _refuse(body, f"a damaged {image.format} ({error!r:.120})")
    pixels: NDArray[np.uint8] = np.asarray(picture, dtype=np.uint8)
    if media.color == "RGB":
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))[np.newaxis]
    return np.ascontiguousarray(pixels)[np.newaxis, np.newaxis]


def encode_png(array: NDArray[Any]) -> bytes:
    """Encode a picture as PNG, lossless: `decode_image` gives the same array back.

    Args:
        array: uint8, (1, C, H, W) or (C, H, W), C = 1 (grey) or 3 (RGB).

    Raises:
        TensorMismatch: another shape or dtype.
    """
    planes = array[0] if array.ndim == 4 and len(array) == 1 else array
    if planes.ndim != 3 or planes.dtype != np.uint8 or len(planes) not in (1, 3):
        raise TensorMismatch(
            f"picture: got {array.dtype} {array.shape}, wanted uint8 (1, C, H, W) or (C, H, W) "
            "with C = 1 or 3. Send one picture at a time."
        )
    pixels = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG")
    return buffer.getvalue()


def _open(body: bytes, max_pixels: int) -> Image.Image:
    """Read the header alone and hold it against the limit."""
    try:
        image = Image.open(io.BytesIO(body), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(
            f"picture: {error} Send it smaller; GLASSLINE_MAX_IMAGE_PIXELS is {max_pixels}."
        ) from None
    except Exception as error:  # PIL's parsers raise whatever their bytes lead them to
        _refuse(body, f"{len(body)} bytes that are neither ({type(error).__name__})")
    width, height = image.size
    if width * height > max_pixels:
        raise TooLarge(
            f"picture: got {width} x {height} pixels, at most {max_pixels} are accepted. "
            "Send it smaller, or raise GLASSLINE_MAX_IMAGE_PIXELS."
        )
    return image


def _check_exact(image: Image.Image, media: ImageMedia) -> None:
    """Refuse a picture that stands upright and is not of the size and mode of `media`."""
    # Black and white in one bit are the same in eight.
    modes = {"L": ("L", "1"), "RGB": ("RGB",)}[media.color]
    if image.mode in modes and image.size == (media.width, media.height):
        return
    raise TensorMismatch(
        f"input '{media.input}': got a picture of {image.width} x {image.height} pixels in mode "
        f"{image.mode}, wanted exactly {media.width} x {media.height} in mode {media.color}: this "
        "model judges structure that resizing and converting would change. Send it as the "
        "pictures were that the model was trained on."
    )


def _refuse(body: bytes, got: str) -> NoReturn:
    raise MalformedBody(
        f"picture: got {got}, beginning with {body[:8]!r}, wanted a whole PNG or JPEG file. "
        "Send the file's bytes as the body, unchanged."
    ) from None


def _upright(image: Image.Image) -> Image.Image:
    if not any(source in image.info for source in _EXIF_SOURCES):
        return image
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about orientation; the pixels are whole
        return image
    return image if turn is None else image.transpose(turn)


def _coloured(image: Image.Image, depth: int, color: str) -> Image.Image:
    """The picture in 8-bit `color`, opaque.

    Args:
        image: as PIL decoded it.
        depth: bits per sample in the file.
        color: L or RGB.
    """
    if image.mode.startswith("I"):
        image = _sixteen_to_eight(image)
    elif "transparency" in image.info:
        _scale_transparency(image, depth)
        image = image.convert("RGBA")
    if image.mode in ("LA", "PA", "RGBA"):
        image = _on_white(image.convert("RGBA"))
    if image.mode == "CMYK":
        image = image.convert("RGB")
    return image if image.mode == color else image.convert(color)


def _sixteen_to_eight(image: Image.Image) -> Image.Image:
    # PIL's own convert("L") clips everything above 255 to white.
    samples = np.asarray(image)
    grey = np.empty(samples.shape, np.uint8)
    strip = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, strip):
        wide = samples[top : top + strip].astype(np.uint32)
        grey[top : top + strip] = (wide * 255 + 32767) // 65535
    if "transparency" in image.info:
        grey[samples == image.info["transparency"]] = 255
    return Image.fromarray(grey)


def _scale_transparency(image: Image.Image, depth: int) -> None:
    """Bring a PNG's transparent colour to the 8 bits that PIL has brought the pixels to."""
    key = image.info["transparency"]
    if image.mode == "L" and depth < 8:
        image.info["transparency"] = key * 255 // (2**depth - 1)
    elif image.mode == "RGB" and depth == 16:
        image.info["transparency"] = tuple(sample >> 8 for sample in key)


def _on_white(image: Image.Image) -> Image.Image:
    paper = Image.new("RGB", image.size, (255, 255, 255))
    paper.paste(image, mask=image.getchannel("A"))
    return paper


def _fitted(image: Image.Image, media: ImageMedia) -> Image.Image:
    width, height = media.width, media.height
    if image.size == (width, height):
        return image
    box = (0.0, 0.0, float(image.width), float(image.height))
    if media.fit == "cover":
        # Resizing the centre box is resizing the short side and then cropping, without
        # ever holding the long side, which a 1 x 40,000,000 picture would make huge.
        scale = max(width / image.width, height / image.height)
        box = _centre_box(image.size, width / scale, height / scale)
    elif width * image.height > _TALL:
        # PIL resizes the rows first: of a narrow, endless picture that alone is a bomb.
        image = image.resize((image.width, height), Image.Resampling.BILINEAR)
        box = (0.0, 0.0, float(image.width), float(height))
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _centre_box(
    size: tuple[int, int], width: float, height: float
) -> tuple[float, float, float, float]:
    width, height = min(width, float(size[0])), min(height, float(size[1]))
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, min(left + width, float(size[0])), min(top + height, float(size[1]))
