"""Where a detector could not rebuild its input: the error laid over a picture or a window.

A heat map is no estimate: it is an output of the graph, drawn. Its colours are as strong as the
score is high: of an input that is far from the threshold they stay faint, or every good part would
have its reddest spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.explain.fast_png import fast_png
from service.explain.legend import AGAINST, INK, PAPER, QUIET, number, writable
from service.explain.render import PIXEL_ART, display_size, resize, to_pil

#: Opacity of the largest error.
_STRONGEST = 0.78
#: The picture below is drawn between these, so that colours show on black and on white.
_DARKEST, _LIGHTEST = 36, 244
#: Contributors named below a picture, and channels of a window that are drawn.
NAMED, CHANNELS = 3, 8
#: Pixels that each channel of a window takes, and the frame around all.
_ROW, _FRAME = 118, 84


@dataclass(frozen=True, slots=True)
class Judged:
    """What was said of one input.

    Attributes:
        verdict: "anomaly" or "normal".
        score, threshold: anomaly where the one is above the other.
        p_value, budget: share of anomaly-free rows, and which may be called anomalies.
        contributors: names of sensors or regions and their shares of the error, largest first.
    """

    verdict: str
    score: float
    threshold: float
    p_value: float
    budget: float
    contributors: Sequence[tuple[str, float]]

    @property
    def strength(self) -> float:
        """Of the colours: the score over the threshold, at most 1."""
        if self.score > self.threshold:
            return 1.0
        return max(0.0, self.score / self.threshold) if self.threshold > 0 else 0.5

    @property
    def lines(self) -> tuple[str, str]:
        """The verdict, and where it comes from."""
        side = "above" if self.score > self.threshold else "not above"
        said = (
            f"{self.verdict}: score {number(self.score)}, {side} {number(self.threshold)}; "
            f"p-value {number(self.p_value)}, budget {number(self.budget)}"
        )
        named = "; ".join(f"{name}: {share:.0%}" for name, share in self.contributors[:NAMED])
        return said, f"most of the error: {named}"


def draw_heat_map(
    image: NDArray[np.uint8], error: NDArray[np.floating[Any]], judged: Judged
) -> bytes:
    """The picture in grey under its error, with the verdict below, as PNG.

    Args:
        image: (C, H, W), as the model got it.
        error: (H, W), not below 0.
        judged: what was said of it.
    """
    size = display_size(image, 960)
    grey = np.asarray(resize(to_pil(image).convert("L"), size), np.float32)
    grey = _DARKEST + (_LIGHTEST - _DARKEST) / 255 * grey
    heat = _heat(error) * (judged.strength * _STRONGEST)
    # Nothing sharper: its ringing would go below 0.
    way = Image.Resampling.NEAREST if min(error.shape) < PIXEL_ART else Image.Resampling.BILINEAR
    cover = np.asarray(Image.fromarray(heat).resize(size, way))
    painted = np.empty((size[1], size[0], 3), np.uint8)
    for channel, colour in enumerate(AGAINST):
        painted[..., channel] = grey + (colour - grey) * cover
    return fast_png(np.asarray(_with_lines(Image.fromarray(painted), judged)))


def _heat(error: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The error over its largest, in [0, 1]."""
    positive = np.nan_to_num(np.maximum(error, 0), nan=0.0, posinf=0.0).astype(np.float32)
    most = float(positive.max(initial=0.0))
    share: NDArray[np.float32] = positive / np.float32(most or 1.0)
    return share


def _with_lines(picture: Image.Image, judged: Judged) -> Image.Image:
    size = max(13, picture.width // 44)
    step = round(size * 1.5)
    written = [writable(line, size) for line in judged.lines]
    width = max(picture.width, *(int(font.getlength(text)) + 24 for text, font in written))
    canvas = Image.new("RGB", (width, picture.height + 2 * step + 16), PAPER)
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for at, ((text, font), colour) in enumerate(zip(written, (INK, QUIET), strict=True)):
        draw.text((12, picture.height + 8 + at * step), text, fill=colour, font=font)
    return canvas


def draw_error_signals(
    window: NDArray[np.floating[Any]],
    error: NDArray[np.floating[Any]],
    names: Sequence[str],
    judged: Judged,
) -> bytes:
    """The window's channels with the largest errors over time, shaded by the error, as PNG.

    Args:
        window: (T, C), as the model got it.
        error: (T, C), not below 0.
        names: (C,) of the channels.
        judged: what was said of it.
    """
    # matplotlib takes half a second and fifty megabytes: only where something is drawn by it.
    from matplotlib.ticker import MaxNLocator

    from service.explain.figure import INK_CSS, QUIET_CSS, blank, literal, picture

    heat = _heat(error) * (judged.strength * _STRONGEST)
    largest = np.argsort(-error.sum(axis=0), kind="stable")[:CHANNELS]
    figure = blank(_FRAME + _ROW * len(largest))
    rows = figure.subplots(len(largest), 1, sharex=True, squeeze=False)[:, 0]
    colour = np.array(AGAINST) / 255
    for axes, channel in zip(rows, sorted(largest.tolist()), strict=True):
        values = window[:, channel]
        marker = "o" if len(values) <= 40 else None
        axes.plot(values, color=INK_CSS, linewidth=1.2, marker=marker, markersize=2.5)
        low, high = axes.get_ylim()
        shade = np.empty((1, len(values), 4))
        shade[..., :3], shade[0, :, 3] = colour, heat[:, channel]
        axes.imshow(
            shade, extent=(-0.5, len(values) - 0.5, low, high), aspect="auto", zorder=0,
            interpolation="nearest",
        )  # fmt: skip
        axes.set_ylim(low, high)
        axes.set_ylabel(literal(names[channel], 16), fontsize=8.5, color=INK_CSS)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.tick_params(labelsize=8, colors=QUIET_CSS, length=2)
    verdict, where = judged.lines
    rows[0].set_title(literal(verdict, 200), fontsize=9.5, loc="left", color=INK_CSS)
    rows[-1].set_xlabel(literal(f"step; {where}", 200), fontsize=9, color=QUIET_CSS)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    return fast_png(np.asarray(picture(figure)))
