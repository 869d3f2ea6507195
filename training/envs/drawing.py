"""Simple pictures of a machine, for rendered episodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.explain.legend import AGAINST, FOR, INK, PAPER

_FILLS = {"good": FOR, "bad": AGAINST, "light": (214, 220, 226), "dark": (92, 99, 107)}
_LINE = (188, 194, 200)
Box = tuple[int, int, int, int]


class Scene:
    """A picture that boxes, gauges and words are put into; pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(size=16)

    def text(self, at: tuple[int, int], words: str) -> None:
        """Words, by their upper left corner."""
        self._draw.text(at, words, fill=INK, font=self._font)

    def box(self, box: Box, kind: str, words: str) -> None:
        """A filled box with words in its middle; `good`, `bad`, `light` or `dark`."""
        self._draw.rectangle(box, fill=_FILLS[kind])
        self._centred(box, words, INK if kind == "light" else PAPER)

    def gauge(self, box: Box, share: float, words: str) -> None:
        """A bar that is full by a share of 1, with words in its middle."""
        left, top, right, bottom = box
        self._draw.rectangle(box, outline=_LINE, width=2)
        inner = round(left + 2 + share * (right - left - 4))
        if inner > left + 2:
            self._draw.rectangle((left + 2, top + 2, inner, bottom - 2), fill=(168, 205, 231))
        self._centred(box, words, INK)

    def _centred(self, box: Box, words: str, ink: tuple[int, int, int]) -> None:
        left, top, right, bottom = box
        middle = ((left + right) / 2, (top + bottom) / 2)
        self._draw.text(middle, words, fill=ink, font=self._font, anchor="mm")

    def array(self) -> NDArray[np.uint8]:
        """(height, width, 3)."""
        return np.asarray(self._image)
