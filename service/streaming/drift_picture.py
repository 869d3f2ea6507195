"""A stream's drift as a picture: how far each signal is from its reference, block by block."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from service.explain.figure import AGAINST_CSS, FOR_CSS, INK_CSS, QUIET_CSS, blank, literal, picture

#: Signals drawn, the farthest first; pixels each takes, and all else.
DRAWN: Final = 9
_ROW, _FRAME = 104, 96


def draw(said: Mapping[str, Any]) -> bytes:
    """PNG of what `GET ../drift` tells.

    Args:
        said: the route's JSON.
    """
    drifted = {one["signal"]: one for one in said["signals"]}
    names = sorted(said["spreads"], key=lambda name: -_farthest(said["spreads"][name]))[:DRAWN]
    names = [name for name in said["spreads"] if name in names]  # in the model's order
    figure = blank(_FRAME + _ROW * max(1, len(names)))
    times = [datetime.fromisoformat(time) for time in said["times"]]
    rows = figure.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(rows, names, strict=False):
        _draw_signal(axes, times, said, name, drifted.get(name))
    if times:
        locator = AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]
        rows[-1].xaxis.set_major_locator(locator)
        form = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        rows[-1].xaxis.set_major_formatter(form)
    title = (
        f"{said['stream']} under {said['model_name']}@{said['model_version']}: {_headline(said)}"
    )
    figure.suptitle(literal(title, 110), fontsize=10, color=INK_CSS)
    rows[-1].set_xlabel("time (UTC)", fontsize=9, color=QUIET_CSS)
    file = io.BytesIO()
    picture(figure).save(file, "PNG")
    return file.getvalue()


def _headline(said: Mapping[str, Any]) -> str:
    if not said["learnt"]:
        return "the reference is still being learnt"
    if not said["drifting"]:
        return "no drift"
    names = ", ".join(one["signal"] for one in said["signals"][:3])
    return f"drift of {names}; {said['advice']}"


def _farthest(values: list[float | None]) -> float:
    return max((abs(one) for one in values if one is not None), default=0.0)


def _draw_signal(
    axes: Any, times: list[datetime], said: Mapping[str, Any], name: str, one: Any
) -> None:
    values = np.array([np.nan if x is None else x for x in said["spreads"][name]])
    wanted = said["spreads_wanted"]
    axes.axhspan(-wanted, wanted, color=AGAINST_CSS, alpha=0.12, linewidth=0)
    axes.axhline(0, color=QUIET_CSS, linewidth=0.6)
    axes.plot(times, values, color=INK_CSS, linewidth=1.1)
    if one is not None:
        since, up = datetime.fromisoformat(one["since"]), one["spreads"] > 0
        axes.axvspan(since, times[-1], color=FOR_CSS, alpha=0.18, linewidth=0)
        axes.annotate(
            f"{one['spreads']:+.1f} spreads ({one['found_by']})", (0.995, 0.07 if up else 0.93),
            xycoords="axes fraction", ha="right", va="bottom" if up else "top", fontsize=8,
            color=INK_CSS,
        )  # fmt: skip
    farthest = max(_farthest(said["spreads"][name]), 2 * wanted)
    axes.set_ylim(-1.15 * farthest, 1.15 * farthest)
    axes.set_ylabel(
        literal(name, 20), fontsize=8, color=INK_CSS, rotation=0, ha="right", va="center"
    )
    axes.tick_params(labelsize=8, colors=QUIET_CSS, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET_CSS)
