"""A bar chart of weights: what speaks for the answer and what against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from service.explain.explanation import LabelExplanation
from service.explain.figure import AGAINST_CSS, FOR_CSS, INK_CSS, QUIET_CSS, blank, literal, picture
from service.explain.legend import number

#: Pixels a bar takes, and those around all of them.
_BAR, _FRAME = 42, 90
#: Of a normal distribution's middle 95 %.
_Z = 1.959963984540054
_LONGEST = 56


def draw_bars(one: LabelExplanation, names: Sequence[str]) -> Image.Image:
    """The weights of one label, the strongest on top, with their 95 % intervals.

    Args:
        one: at least one weight is drawn; more make the picture taller.
        names: what each weight of `one` belongs to, in their order.
    """
    weights = [weight for _, weight in one.weights]
    figure = blank(_FRAME + _BAR * max(1, len(weights)))
    axes = figure.add_subplot()
    places = range(len(weights))
    colours = [FOR_CSS if weight >= 0 else AGAINST_CSS for weight in weights]
    axes.barh(places, weights, height=0.62, color=colours)
    if one.weight_errors:
        reach = [_Z * error for error in one.weight_errors]
        axes.errorbar(
            weights, places, xerr=reach, fmt="none", ecolor=INK_CSS, elinewidth=1, capsize=3
        )
    else:
        reach = [0.0] * len(weights)
    _room(axes, weights, reach)
    for place, weight in zip(places, weights, strict=True):
        beyond = reach[place] if weight >= 0 else -reach[place]
        sign = "+" if weight >= 0 else "-"
        axes.annotate(
            f"{sign}{number(abs(weight))}", (weight + beyond, place), (6 if weight >= 0 else -6, 0),
            textcoords="offset points", va="center", ha="left" if weight >= 0 else "right",
            fontsize=9, color=INK_CSS,
        )  # fmt: skip
    axes.set_yticks(list(places), [literal(name, _LONGEST) for name in names], fontsize=9.5)
    axes.invert_yaxis()
    axes.axvline(0, color=INK_CSS, linewidth=1)
    for words, align, shift in (("against  ", "right", -8), ("  for", "left", 8)):
        axes.annotate(
            words, (0, 0), (shift, -26), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha=align, fontsize=9, color=QUIET_CSS,
        )  # fmt: skip
    axes.set_xlabel(
        "weight, with its 95 % interval" if one.weight_errors else "weight",
        fontsize=9, color=QUIET_CSS, loc="right",
    )  # fmt: skip
    axes.tick_params(axis="x", labelsize=8.5, colors=QUIET_CSS)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    return picture(figure)


def _room(axes: Any, weights: Sequence[float], reach: Sequence[float]) -> None:
    """Space beside the longest bars for their figures."""
    highest = max([0.0, *(w + r for w, r in zip(weights, reach, strict=True))])
    lowest = min([0.0, *(w - r for w, r in zip(weights, reach, strict=True))])
    span = (highest - lowest) or 1.0
    axes.set_xlim(lowest - (0.14 * span if lowest < 0 else 0.02 * span), highest + 0.14 * span)
