"""Draw an image explanation: what speaks for the answer and what against it.

Blue and orange of Okabe and Ito stay apart for every kind of colour blindness. They are
laid over the picture in grey, so that no colour of the picture is taken for evidence.
"""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.errors import Conflict, InvalidParameter
from service.explain.explanation import ImageExplanation, LabelExplanation
from service.explain.legend import AGAINST, FOR, INK, PAPER, Legend, opacities

#: Smaller pictures are enlarged to at least this many pixels on their short side.
READABLE = 480
#: Pictures smaller than this are enlarged pixel by pixel, larger ones smoothly.
PIXEL_ART = 64
#: How many of the strongest segments carry their rank.
RANKED = 5
#: Grey of the picture's black and of its white: colours show on both.
_DARKEST, _LIGHTEST = 36, 244


def render_overlay(
    image: NDArray[np.uint8],
    explanation: ImageExplanation,
    label: int | None = None,
    *,
    max_side: int = 960,
) -> bytes:
    """Picture with evidence and legend, as PNG.

    Args:
        image: (C, H, W), the picture that was explained.
        explanation: of this picture.
        label: index of the output to draw; None = the first explained.
        max_side: most pixels on the picture's long side; the legend comes below it.

    Raises:
        InvalidParameter: `label` was not explained, or `max_side` is under 64.
        Conflict: the explanation is of a picture of another size.
    """
    one = explanation.of(label)
    picture = draw_overlay(image, explanation, one, max_side=max_side)
    width = max(picture.width, READABLE)
    counted = (
        f"{explanation.samples_used} samples, {explanation.segment_count} segments, "
        f"seed {explanation.seed}"
    )
    legend = Legend(width, one, counted, thumbnail(image, width // 6))
    canvas = Image.new("RGB", (width, picture.height + legend.height), PAPER)
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    legend.draw(canvas, picture.height)
    return png(canvas)


def draw_overlay(
    image: NDArray[np.uint8],
    explanation: ImageExplanation,
    one: LabelExplanation,
    *,
    max_side: int = 960,
) -> Image.Image:
    """Picture with evidence, without a legend; arguments as for `render_overlay`."""
    if explanation.segments.shape != image.shape[1:]:
        raise Conflict(
            f"overlay: the picture is {image.shape[1:]} pixels, the segments are "
            f"{explanation.segments.shape}. Draw the picture that was explained."
        )
    size = display_size(image, max_side)
    shade = np.asarray(resize(to_pil(image), size).convert("L"), np.float64) / 255
    grey = _DARKEST + (_LIGHTEST - _DARKEST) * shade
    segments = np.asarray(
        Image.fromarray(explanation.segments).resize(size, Image.Resampling.NEAREST)
    )
    colour, opacity = _evidence(one, explanation.segment_count)
    cover = opacity[segments][..., None]
    painted = grey[..., None] * (1 - cover) + colour[segments] * cover
    painted = _with_borders(painted, segments, opacity, colour)
    picture = Image.fromarray(np.rint(painted).astype(np.uint8))
    _draw_ranks(picture, segments, one)
    return picture


def to_pil(image: NDArray[np.uint8]) -> Image.Image:
    """(C, H, W) to RGB; other than 1 or 3 channels show as the grey mean of all."""
    if image.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    plane = image[0] if image.shape[0] == 1 else np.rint(image.mean(axis=0)).astype(np.uint8)
    return Image.fromarray(plane).convert("RGB")


def thumbnail(image: NDArray[np.uint8], side: int) -> Image.Image:
    """The picture as it was sent, its long side brought to `side` pixels."""
    height, width = image.shape[1:]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return resize(to_pil(image), size)


def png(picture: Image.Image) -> bytes:
    """Encode as PNG."""
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=False)
    return out.getvalue()


def display_size(image: NDArray[np.uint8], max_side: int) -> tuple[int, int]:
    """Width and height at which people can read a picture (C, H, W).

    Raises:
        InvalidParameter: `max_side` is under 64.
    """
    if max_side < PIXEL_ART:
        raise InvalidParameter(f"max_side: got {max_side}, wanted at least {PIXEL_ART} pixels.")
    height, width = image.shape[1:]
    # Whole multiples keep the pixels of a small picture square and alike.
    scale: float = max(1, math.ceil(READABLE / min(height, width)))
    if max(height, width) * scale > max_side:
        scale = max_side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at another size: small ones pixel by pixel, larger ones smoothly."""
    art = min(picture.size) < PIXEL_ART and size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if art else Image.Resampling.LANCZOS)


def _evidence(
    one: LabelExplanation, segments: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colour (S, 3) and opacity (S,) of each segment."""
    colour = np.zeros((segments, 3))
    opacity = np.zeros(segments)
    strongest = max((abs(weight) for _, weight in one.weights), default=0.0)
    for segment, weight in one.weights:
        if weight != 0:
            colour[segment] = FOR if weight > 0 else AGAINST
            opacity[segment] = opacities(np.float64(weight / strongest))
    return colour, opacity


def _with_borders(
    painted: NDArray[np.float64],
    segments: NDArray[np.int32],
    opacity: NDArray[np.float64],
    colour: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Hairlines between all segments, and a line of its own colour inside each that speaks."""
    edge = np.zeros(segments.shape, bool)
    edge[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    edge[1:] |= segments[1:] != segments[:-1]
    out = painted.copy()
    out[edge] = 0.6 * out[edge] + 0.4 * np.where(out[edge].mean(axis=1) > 127, 40, 200)[:, None]
    near = edge.copy()
    near[:, :-1] |= edge[:, 1:]
    near[:-1] |= edge[1:]
    speaks = near & (opacity[segments] > 0)
    line = np.minimum(1, 0.15 + 1.2 * opacity[segments[speaks]])[:, None]
    out[speaks] = (1 - line) * out[speaks] + line * colour[segments[speaks]]
    return out


def _draw_ranks(picture: Image.Image, segments: NDArray[np.int32], one: LabelExplanation) -> None:
    draw = ImageDraw.Draw(picture)
    radius = max(9, min(picture.size) // 44)
    font = ImageFont.load_default(size=round(radius * 1.35))
    for rank, (segment, weight) in enumerate(one.weights[:RANKED], start=1):
        if weight == 0:
            continue
        x, y = _anchor(segments == segment, radius)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, fill=PAPER, outline=FOR if weight > 0 else AGAINST, width=2)
        draw.text((x, y), str(rank), fill=INK, font=font, anchor="mm")


def _anchor(inside: NDArray[np.bool_], margin: int) -> tuple[int, int]:
    """A point of the segment near its centre, far enough from the picture's edge."""
    rows, columns = np.nonzero(inside)
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(distance.argmin())
    height, width = inside.shape
    x = min(max(int(columns[nearest]), margin + 1), width - margin - 2)
    y = min(max(int(rows[nearest]), margin + 1), height - margin - 2)
    return x, y
