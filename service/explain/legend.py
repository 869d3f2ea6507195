"""The legend of a picture: what the colours mean and how sure the answer is."""

from __future__ import annotations

import unicodedata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.explain.explanation import LabelExplanation

FOR, AGAINST = (0, 114, 178), (230, 159, 0)
INK, QUIET, PAPER = (24, 28, 33), (92, 99, 107), (255, 255, 255)
_FAINTEST, _STRONGEST = 0.06, 0.66


def _fonts() -> tuple[str, ...]:
    """Tried in turn for texts that Pillow's own font cannot write; lime brings matplotlib's."""
    package = find_spec("matplotlib")
    folders = package.submodule_search_locations or [] if package is not None else []
    brought = [str(Path(one, "mpl-data/fonts/ttf/DejaVuSans.ttf")) for one in folders]
    return (*brought, "DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Arial Unicode.ttf")


_WIDE_FONTS = _fonts()

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def opacities(strength: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Opacity of evidence, from its weight over the strongest, -1 to 1; 0 stays clear."""
    size = np.abs(strength)
    return np.where(size == 0, 0.0, _FAINTEST + (_STRONGEST - _FAINTEST) * size)


def number(value: float) -> str:
    """Three significant digits, the way a person writes them: 0.394, 1.00, 1234, 2.1e-06."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-4 or size >= 1e6:
        return f"{value:.1e}"
    return f"{value:.0f}" if size >= 100 else f"{value:#.3g}"


class Legend:
    """What the colours mean, how sure it is, and the picture as it was sent.

    Args:
        width: pixels.
        one: the label that is drawn.
        counted: what was counted, "1000 samples, 24 segments, seed 0" say.
        picture: as it was sent; None = there is none to be shown.
        scale: whether colours tell weights and need a scale.
    """

    def __init__(
        self,
        width: int,
        one: LabelExplanation,
        counted: str,
        picture: Image.Image | None = None,
        *,
        scale: bool = True,
    ) -> None:
        self._one = one
        self._scale = scale
        self._picture = picture
        self._margin = max(12, width // 40)
        self._left = self._margin + (self._margin + picture.width if picture else 0)
        self._room = width - self._left - self._margin
        big, text = max(19, width // 28), max(14, width // 44)
        title, self._title_font = writable(one.name, big)
        self._title = _wrap(f"{title}: score {number(one.score)}", self._title_font, self._room)
        self._font: Font = ImageFont.load_default(size=text)
        figures = (
            f"R² {one.r2:.2f}, stability {one.split_stability:.2f}, surrogate says "
            f"{number(one.local_prediction)}. {counted}."
        )
        self._verdict = _wrap(f"Verdict: {one.verdict}.", self._font, self._room)
        self._figures = _wrap(figures, self._font, self._room)
        self._big, self._step = round(big * 1.4), round(text * 1.45)
        lines = len(self._verdict) + len(self._figures)
        self._bar = text
        bar = self._bar + round(self._step * 1.5) if scale else 0
        written = len(self._title) * self._big + bar + lines * self._step
        self.height = max(written, picture.height if picture else 0) + 2 * self._margin

    def draw(self, canvas: Image.Image, top: int) -> None:
        """Draw with its upper edge at `top`."""
        draw = ImageDraw.Draw(canvas)
        y = top + self._margin
        if self._picture is not None:
            canvas.paste(self._picture, (self._margin, y))
        for line in self._title:
            _write(draw, (self._left, y), line, self._title_font, INK)
            y += self._big
        if self._scale:
            y = self._draw_scale(canvas, draw, y)
        for line in self._verdict:
            _write(draw, (self._left, y), line, self._font, INK)
            y += self._step
        for line in self._figures:
            _write(draw, (self._left, y), line, self._font, QUIET)
            y += self._step

    def _draw_scale(self, canvas: Image.Image, draw: ImageDraw.ImageDraw, y: int) -> int:
        """Opacity against weight, from the strongest against to the strongest for."""
        strongest = max((abs(weight) for _, weight in self._one.weights), default=0.0)
        at = np.linspace(-1, 1, self._room)[:, None]
        cover = opacities(at)
        row = 235 * (1 - cover) + np.where(at > 0, FOR, AGAINST) * cover
        bar = np.repeat(np.rint(row)[None].astype(np.uint8), self._bar, axis=0)
        canvas.paste(Image.fromarray(bar), (self._left, y))
        below = y + self._bar + self._step // 6
        right = self._left + self._room
        ends = ((self._left, "la", f"against -{number(strongest)}"),
                (self._left + self._room // 2, "ma", "0"),
                (right, "ra", f"for +{number(strongest)}"))  # fmt: skip
        for x, anchor, words in ends:
            draw.text((x, below), words, fill=QUIET, font=self._font, anchor=anchor)
        return y + self._bar + round(self._step * 1.5)


def writable(text: str, size: int) -> tuple[str, Font]:
    """The text and a font that can write it; Pillow's own font knows ASCII only.

    What is no character to be seen, a control code say, becomes a box or a space, one for one.
    """
    text = "".join(map(_seen, text))
    if text.isascii():
        return text, ImageFont.load_default(size=size)
    for name in _WIDE_FONTS:
        try:
            return text, ImageFont.truetype(name, size)
        except OSError:
            continue
    plain = unicodedata.normalize("NFKD", text)
    kept = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return kept.encode("ascii", "replace").decode(), ImageFont.load_default(size=size)


def _seen(sign: str) -> str:
    if sign.isprintable() or sign in "\n\t":
        return sign
    return " " if sign.isspace() else "\N{WHITE SQUARE}"


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """Break at spaces; a single word that is too long is broken where it must be."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        while len(word) > 1 and font.getlength(word) > width:
            fits = next(n for n in range(len(word), 0, -1) if font.getlength(word[:n]) <= width)
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: Font,
    fill: tuple[int, int, int],
) -> None:
    """Write a line; a raised 2 is drawn small, because Pillow's own font has none."""
    x, y = float(at[0]), at[1]
    height = font.getbbox("R")[3] - font.getbbox("R")[1]
    small = ImageFont.load_default(size=max(9, round(height * 0.9)))
    for index, part in enumerate(text.split("²")):
        if index:
            draw.text((x, y - height * 0.12), "2", fill=fill, font=small)
            x += small.getlength("2")
        draw.text((x, y), part, fill=fill, font=font)
        x += font.getlength(part)
