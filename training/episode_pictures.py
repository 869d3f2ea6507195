"""Pictures of learning and of episodes: curves as PNG, an episode as GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from service.explain.figure import AGAINST_CSS, FOR_CSS
from training.policy_learning import Progress

#: Most pictures of a GIF, and pixels of its longer side: it lies in a page.
FRAMES, SIDE = 240, 360
#: Milliseconds that a picture of a GIF is shown, and the last one.
SHOWN, LAST_SHOWN = 50, 1500
COLOURS = 64


def return_curve(progress: Progress, title: str) -> bytes:
    """A PNG: returns over the steps, of training and of evaluation, and the released policy."""
    figure = Figure(figsize=(7, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    curve = np.array(progress.curve, np.float64).reshape(-1, 4)
    steps, trained, mean, spread = curve.T
    dots: Any = {"marker": "."} if len(steps) < 2 else {}
    axes.fill_between(steps, mean - spread, mean + spread, color=FOR_CSS, alpha=0.15, lw=0)
    axes.plot(steps, mean, color=FOR_CSS, label="evaluation, without chance (mean ± deviation)",
              **dots)  # fmt: skip
    axes.plot(steps, trained, color=AGAINST_CSS, label="training, last 100 episodes", **dots)
    best, after = progress.best
    axes.plot([after], [best], "o", mfc="none", color="black",
              label=f"released: step {after:,}, {best:.4g}")  # fmt: skip
    axes.set(title=title, xlabel="steps of the environments", ylabel="return of an episode")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)


def return_histogram(returns: NDArray[np.float64], lengths: NDArray[np.int64]) -> bytes:
    """A PNG: how the returns and the lengths of many episodes are spread."""
    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, values, said in zip(
        figure.subplots(1, 2), (returns, lengths), ("return", "steps"), strict=True
    ):
        if np.ptp(values):
            axes.hist(values, bins=30, color=FOR_CSS)
        else:
            axes.bar([float(values[0])], [len(values)], width=1, color=FOR_CSS)
        axes.axvline(float(np.mean(values)), color="black", lw=1, ls=":")
        axes.set(xlabel=f"{said} of an episode", ylabel="episodes")
    return _png(figure)


def animation(frames: Sequence[NDArray[np.uint8]]) -> bytes:
    """An endless GIF of an episode, thinned out and made smaller where it is long or large."""
    every = -(-len(frames) // FRAMES)
    pictures = [smaller(frame, SIDE) for frame in frames[::every]]
    # One palette for all of them, so that still things do not flicker; of every picture, so that
    # no colour is missing that comes up but seldom.
    shared = _small_ones(pictures).quantize(COLOURS)
    indexed = [picture.quantize(palette=shared, dither=Image.Dither.NONE) for picture in pictures]
    out = io.BytesIO()
    indexed[0].save(
        out, "GIF", save_all=True, append_images=indexed[1:], loop=0, optimize=False,
        duration=[SHOWN] * (len(indexed) - 1) + [LAST_SHOWN],
    )  # fmt: skip
    return out.getvalue()


def _small_ones(pictures: Sequence[Image.Image]) -> Image.Image:
    """All pictures below each other, a sixth as wide and high."""
    width, height = (max(1, extent // 6) for extent in pictures[0].size)
    column = Image.new("RGB", (width, height * len(pictures)))
    for at, picture in enumerate(pictures):
        column.paste(picture.resize((width, height), Image.Resampling.NEAREST), (0, at * height))
    return column


def smaller(frame: NDArray[np.uint8], side: int) -> Image.Image:
    """A picture whose longer side is at most so long."""
    picture = Image.fromarray(frame)
    scale = min(1.0, side / max(picture.size))
    size = tuple(max(1, round(extent * scale)) for extent in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    # Without the date and the version of the software: the same curve is the same file.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
