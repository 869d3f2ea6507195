"""An attention matrix between two texts: what each token was written with a view to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.explain.legend import INK, PAPER, QUIET, Font, writable

#: The deepest colour, for a weight of 1; 0 is paper.
_DEEP = (8, 48, 107)
_CELL, _MARGIN, _SIZE = 30, 22, 17
#: Tokens that are drawn on each side; what comes after is named, not shown.
_MOST = 80
#: The mark that sentencepiece puts before a word, and what is drawn for it.
_WORD = "\N{LOWER ONE EIGHTH BLOCK}"


def draw_attention(
    weights: NDArray[np.floating[Any]],
    written: Sequence[str],
    source: Sequence[str],
) -> Image.Image:
    """Draw the matrix, written tokens below each other, source tokens above.

    Args:
        weights: (T, S), each row adding up to 1.
        written: (T,) tokens.
        source: (S,) tokens.
    """
    cut = len(written) > _MOST or len(source) > _MOST
    weights, written, source = weights[:_MOST, :_MOST], written[:_MOST], source[:_MOST]
    # One font for all of them, so that they stand on one line.
    _, font = writable("".join(written) + "".join(source), _SIZE)
    down, across = [_shown(token) for token in written], [_shown(token) for token in source]
    left = _MARGIN + max(_width(token, font) for token in down) + 10
    top = _MARGIN + max(_width(token, font) for token in across) + 10
    note = "columns: source, rows: translation; the deeper, the more of the view (each row adds "
    note += "up to 1)" + (f"; the first {_MOST} tokens" if cut else "")
    noted, small = writable(note, 13)
    width = max(left + _CELL * len(across) + _MARGIN, _MARGIN * 2 + _width(noted, small))
    height = top + _CELL * len(down) + 2 * _MARGIN + 10
    canvas = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, token in enumerate(down):
        y = top + row * _CELL + _CELL // 2
        draw.text((left - 8, y), token, fill=INK, font=font, anchor="rm")
        for column in range(len(across)):
            _cell(draw, left + column * _CELL, top + row * _CELL, float(weights[row, column]))
    for column, token in enumerate(across):
        _upright(canvas, left + column * _CELL, top - 6, token, font)
    draw.text((_MARGIN, height - _MARGIN), noted, fill=QUIET, font=small, anchor="lm")
    return canvas


def _cell(draw: ImageDraw.ImageDraw, x: int, y: int, weight: float) -> None:
    depth = np.sqrt(np.clip(weight, 0.0, 1.0))  # small shares stay visible
    colour = np.rint(np.array(PAPER) * (1 - depth) + np.array(_DEEP) * depth).astype(int)
    box = (x, y, x + _CELL - 1, y + _CELL - 1)
    draw.rectangle(box, fill=tuple(colour.tolist()), outline=(224, 228, 232))


def _upright(canvas: Image.Image, x: int, bottom: int, token: str, font: Font) -> None:
    """Write from the bottom up, in the middle of a column."""
    long = _width(token, font)
    strip = Image.new("RGB", (long + 2, _CELL), PAPER)
    ImageDraw.Draw(strip).text((0, _CELL // 2), token, fill=INK, font=font, anchor="lm")
    turned = strip.rotate(90, expand=True)
    canvas.paste(turned, (x, bottom - turned.height))


def _shown(token: str) -> str:
    """A token as people read it: the beginning of a word as it is, what goes on after a dot."""
    if token.startswith("<"):
        return token
    return token[1:] or "_" if token.startswith(_WORD) else f"\N{MIDDLE DOT}{token}"


def _width(text: str, font: Font) -> int:
    return int(np.ceil(font.getlength(text))) + 1
