"""A recording as a plot: every sensor over time, alarms shaded, and how rare each row was."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from service.anomaly.times import SECOND
from service.backfill.faults import known
from service.backfill.recording import Recording
from service.backfill.run import Replayed
from service.backfill.thinning import Bins
from service.explain.figure import DPI, INK_CSS, QUIET_CSS, blank, literal

#: Colours of the two that are compared: blue and vermilion, told apart by everybody
#: (Okabe and Ito 2008); of known faults, of what was not judged, and of values around a mean.
COLOURS: Final = ("#0072b2", "#d55e00")
_FAULT, _IDLE, _BAND = "#e6c300", "#eceef0", "#b9c0c7"
_SENSOR, _RARITY, _FRAME = 92, 150, 96
#: Sensors drawn, and numbers of alarms side by side: more would be no more to see.
SENSORS, NUMBERED = 12, 40


def shown(sensors: Sequence[str], runs: Sequence[Replayed]) -> list[int]:
    """The sensors that are drawn, in their order: all, or those that alarms name most."""
    named = Counter(
        one["sensor"] for run in runs for _, line in run.events
        for one in line.get("contributors", ())
    )  # fmt: skip
    ranked = sorted(range(len(sensors)), key=lambda at: (-named[sensors[at]], at))
    return sorted(ranked[:SENSORS])


def draw(recording: Recording, sensors: Sequence[str], runs: Sequence[Replayed]) -> bytes:
    """A PNG of one or two runs over the same rows.

    Args:
        recording: what was run.
        sensors: names of its columns.
        runs: one, or two that are compared.
    """
    drawn = shown(sensors, runs)
    heights = [_SENSOR] * len(drawn) + [_RARITY] * len(runs)
    figure = blank(_FRAME + sum(heights))
    rows = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    bins = Bins.of(np.array(recording.times, np.int64), runs[0].gap)
    for axes, column in zip(rows, drawn, strict=False):
        _plain(axes)
        _signal(axes, bins, recording.values[:, column].astype(np.float64))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
        axes.ticklabel_format(axis="y", useOffset=False)
        _label(axes, literal((recording.labels or sensors)[column], 30))
        for number, run in enumerate(runs):
            _shade(axes, run, recording.times[-1], number, len(runs))
    for number, run in enumerate(runs):
        _rarity(rows[len(drawn) + number], bins, run, number)
        _shade(rows[len(drawn) + number], run, recording.times[-1], 0, 1, COLOURS[number])
    for begin, end in known(recording):
        for axes in rows:
            axes.axvspan(*_moments([begin, end]), 0, 0.09, color=_FAULT, lw=0, zorder=3)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    rows[-1].xaxis.set_major_locator(locator)
    form = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    rows[-1].xaxis.set_major_formatter(form)
    rows[-1].set_xlim(*_moments([min(recording.times), max(recording.times) + 1]))
    rows[-1].xaxis.get_offset_text().set(fontsize=8, color=QUIET_CSS)
    rows[-1].set_xlabel("time (UTC)", fontsize=8, color=QUIET_CSS)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _moments(times: Any) -> list[datetime]:
    return [datetime.fromtimestamp(int(time) / SECOND, UTC) for time in times]


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=7, colors=QUIET_CSS, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET_CSS)


def _signal(axes: Any, bins: Bins, values: NDArray[np.float64]) -> None:
    """Every value, or of long recordings the mean and a band from the lowest to the highest."""
    if bins.dense:
        low, high = bins.lowest(values), bins.highest(values)
        axes.fill_between(_moments(bins.times), low, high, color=_BAND, lw=0, zorder=0)
    times, line = bins.middle(values) if bins.dense else bins.line(values)
    axes.plot(_moments(times), line, color=INK_CSS, linewidth=0.7)


def _label(axes: Any, text: str) -> None:
    axes.set_ylabel(text, fontsize=7.5, rotation=0, ha="right", va="center")


def _rarity(axes: Any, bins: Bins, run: Replayed, number: int) -> None:
    """-log10 of the p-values and of the level: up is rare, above the line exceeds."""
    _plain(axes)
    with np.errstate(divide="ignore", invalid="ignore"):
        rarity, level = -np.log10(run.p_values), -np.log10(run.alphas)
    top = float(np.nanmax(rarity)) if np.isfinite(rarity).any() else 1.0
    top = 1.2 * max(1.0, top)
    times = _moments(bins.times)
    highest = bins.highest(rarity)
    axes.fill_between(
        times, 0, np.nan_to_num(highest), color=COLOURS[number], alpha=0.45, lw=0, step="mid"
    )
    idle = ~np.isfinite(highest)
    spent = bins.highest(run.blind.astype(np.float64)) > 0
    for where, low, colour in ((idle, 0.0, _IDLE), (spent, 0.95 * top, INK_CSS)):
        axes.fill_between(times, low, top, where=where, color=colour, lw=0, step="post", zorder=0)
    moments, values = bins.line(np.minimum(level, top))
    axes.plot(_moments(moments), values, color=INK_CSS, linewidth=0.9)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    _label(axes, literal(run.label, 40) + "\nrarity, $-\\log_{10}\\,p$")
    apart = (bins.times[-1] - bins.times[0]) / NUMBERED
    last = -np.inf
    for event, _ in run.events:
        if event.change != "raised" or event.time - last < apart:
            continue
        last = event.time
        axes.annotate(
            str(event.number), (_moments([event.time])[0], 0.93 * top), xytext=(2, 0),
            textcoords="offset points", fontsize=7, color=INK_CSS, va="top",
        )  # fmt: skip


def _shade(
    axes: Any, run: Replayed, end: int, number: int, of: int, colour: str | None = None
) -> None:
    """Shade alarms; of two runs each takes its half of the height."""
    low, high = (0.0, 1.0) if of == 1 else ((0.5, 1.0) if number == 0 else (0.0, 0.5))
    for raised, cleared in run.spans(end):
        begin, over = _moments([raised, cleared])
        axes.axvspan(
            begin, over, low, high, color=colour or COLOURS[number], alpha=0.28, linewidth=0
        )
        axes.axvline(begin, low, high, color=colour or COLOURS[number], linewidth=0.9)
