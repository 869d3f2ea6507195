"""A text with its words coloured: what speaks for the answer and what against it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup, escape
from PIL import Image, ImageDraw

from service.explain.explanation import LabelExplanation
from service.explain.feature_explanation import FeatureExplanation
from service.explain.figure import WIDTH
from service.explain.legend import AGAINST, FOR, INK, PAPER, Font, opacities, writable

#: Characters that are drawn or written out; what comes after is named, not shown.
LONGEST = 6000
_SIZE, _MARGIN, _LINE = 21, 28, 34

#: A piece of the text, and its weight over the strongest, -1 to 1; 0 = no evidence.
Piece = tuple[str, float]


def pieces(text: str, explanation: FeatureExplanation, one: LabelExplanation) -> list[Piece]:
    """The text cut where evidence begins and ends; together they are the text."""
    most = max((abs(weight) for _, weight in one.weights), default=0.0) or 1.0
    marks = sorted(
        (span, weight / most)
        for at, weight in one.weights
        for span in explanation.features[at].spans
    )
    found: list[Piece] = []
    end = 0
    for (start, stop), strength in marks:
        if start > end:
            found.append((text[end:start], 0.0))
        found.append((text[start:stop], strength))
        end = stop
    return [*found, (text[end:], 0.0)] if end < len(text) else found


def highlighted(text: str, explanation: FeatureExplanation, one: LabelExplanation) -> Markup:
    """The text as HTML, its evidence on coloured ground."""
    out = Markup("")
    for part, strength in pieces(text[:LONGEST], explanation, one):
        if strength == 0:
            out += escape(part)
            continue
        red, green, blue = FOR if strength > 0 else AGAINST
        cover = float(opacities(np.float64(strength)))
        out += Markup('<mark style="background:rgba({},{},{},{:.3f})">{}</mark>').format(
            red, green, blue, cover, part
        )
    return out + (Markup(" …") if len(text) > LONGEST else Markup(""))


def draw_text(text: str, explanation: FeatureExplanation, one: LabelExplanation) -> Image.Image:
    """The text as a picture of WIDTH pixels, broken between words."""
    cut = text[:LONGEST] + (" …" if len(text) > LONGEST else "")
    _, font = writable(cut, _SIZE)
    parts = [(writable(part, _SIZE)[0], weight) for part, weight in pieces(cut, explanation, one)]
    lines = _lines(list(_words(parts)), font)
    canvas = Image.new("RGB", (WIDTH, 2 * _MARGIN + _LINE * max(1, len(lines))), PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, line in enumerate(lines):
        y = _MARGIN + row * _LINE
        for x, part, strength in line:
            if strength != 0:
                cover = float(opacities(np.float64(strength)))
                ground = np.array(PAPER) * (1 - cover)
                ground = ground + np.array(FOR if strength > 0 else AGAINST) * cover
                box = (x - 1, y - 3, x + font.getlength(part) + 1, y + _LINE - 7)
                draw.rectangle(box, fill=tuple(np.rint(ground).astype(int).tolist()))
            draw.text((x, y), part, fill=INK, font=font)
    return canvas


def _words(parts: list[Piece]) -> Iterator[Piece]:
    """Pieces cut further after each space and newline, so that lines can break there."""
    for part, strength in parts:
        word = ""
        for sign in part:
            word += sign
            if sign in " \n\t":
                yield word, strength
                word = ""
        if word:
            yield word, strength


def _lines(words: list[Piece], font: Font) -> list[list[tuple[float, str, float]]]:
    lines: list[list[tuple[float, str, float]]] = [[]]
    x = float(_MARGIN)
    for word, strength in words:
        newline = word.endswith("\n")
        for part in _fitting(word.rstrip("\n").replace("\t", "    "), font):
            width = font.getlength(part)
            if x > _MARGIN and x + font.getlength(part.rstrip()) > WIDTH - _MARGIN:
                lines.append([])
                x = float(_MARGIN)
            lines[-1].append((x, part, strength))
            x += width
        if newline:
            lines.append([])
            x = float(_MARGIN)
    return lines


def _fitting(word: str, font: Font) -> Iterator[str]:
    """A word, cut where it is wider than a line."""
    while word:
        take = len(word)
        while take > 1 and font.getlength(word[:take]) > WIDTH - 2 * _MARGIN:
            take = take // 2
        yield word[:take]
        word = word[take:]
