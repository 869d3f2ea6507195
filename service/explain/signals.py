"""A plot of a window: each channel over its steps, shaded where the answer comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from service.explain.explanation import LabelExplanation
from service.explain.feature_explanation import FeatureExplanation
from service.explain.figure import AGAINST_CSS, FOR_CSS, INK_CSS, QUIET_CSS, blank, literal, picture
from service.explain.legend import opacities

#: Channels drawn, those with the strongest weights first; pixels each takes.
CHANNELS, _ROW, _FRAME = 8, 128, 60
#: How many of the strongest pieces carry their rank.
RANKED = 5


def draw_signals(
    window: NDArray[Any],
    explanation: FeatureExplanation,
    one: LabelExplanation,
    channels: tuple[str, ...] = (),
) -> Image.Image:
    """The window with its evidence.

    Args:
        window: (T, C), what was explained.
        explanation: of this window, by steps or by segments.
        one: the label to draw.
        channels: their names; empty = as the explanation's features name them.
    """
    shown = strongest_channels(explanation, one, window.shape[1])
    figure = blank(_FRAME + _ROW * len(shown))
    rows = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    names = channel_names(explanation, window.shape[1], channels)
    for axes, channel in zip(rows, shown, strict=True):
        _draw_line(axes, window[:, channel], names[channel])
        _shade(axes, explanation, one, channel)
    rows[-1].set_xlabel("step", fontsize=9, color=QUIET_CSS)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    rows[-1].set_xlim(-0.5, len(window) - 0.5)
    return picture(figure)


def strongest_channels(
    explanation: FeatureExplanation, one: LabelExplanation, count: int
) -> list[int]:
    """At most CHANNELS indices, in the window's order: those with the strongest weights."""
    strength = np.zeros(count)
    for at, weight in one.weights:
        channel = explanation.features[at].channel
        if channel is None:
            strength += abs(weight)
        else:
            strength[channel] = max(strength[channel], abs(weight))
    return sorted(np.argsort(-strength, kind="stable")[:CHANNELS].tolist())


def channel_names(
    explanation: FeatureExplanation, count: int, given: tuple[str, ...] = ()
) -> list[str]:
    """Names of the channels, as given or as the features name them."""
    names = list(given) or [f"channel {channel}" for channel in range(count)]
    if not given:
        for feature in explanation.features:
            if feature.channel is not None:
                # "speed_t-3" of a step, "speed 10-19" of a segment
                separator = "_t-" if "_t-" in feature.name else " "
                names[feature.channel] = feature.name.rpartition(separator)[0]
    return names


def _draw_line(axes: Any, values: NDArray[Any], name: str) -> None:
    marker = "o" if len(values) <= 40 else None
    axes.plot(values, color=INK_CSS, linewidth=1.2, marker=marker, markersize=2.5)
    axes.set_ylabel(literal(name, 16), fontsize=8.5, color=INK_CSS)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    # An offset above the axis ("+2.388e3") would be taken for one of the numbers, or hide them.
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(labelsize=8, colors=QUIET_CSS, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET_CSS)


def _shade(axes: Any, explanation: FeatureExplanation, one: LabelExplanation, channel: int) -> None:
    most = max((abs(weight) for _, weight in one.weights), default=0.0)
    for rank, (at, weight) in enumerate(one.weights, start=1):
        feature = explanation.features[at]
        if weight == 0 or feature.channel not in (None, channel):
            continue
        opacity = float(opacities(np.float64(weight / most)))
        colour = FOR_CSS if weight > 0 else AGAINST_CSS
        for start, stop in feature.spans:
            axes.axvspan(start - 0.5, stop - 0.5, color=colour, alpha=opacity, linewidth=0)
            if rank <= RANKED:
                axes.annotate(
                    str(rank), ((start + stop - 1) / 2, 1), (0, 2),
                    xycoords=("data", "axes fraction"), textcoords="offset points",
                    ha="center", va="bottom", fontsize=8,
                    bbox={"boxstyle": "circle,pad=0.2", "fc": "white", "ec": colour, "lw": 1},
                )  # fmt: skip
