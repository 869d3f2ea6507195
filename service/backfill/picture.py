"""A recording as a plot: every sensor over time, alarms shaded, and how rare each row was."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from service.anomaly.times import SECOND
from service.backfill.recording import Recording
from service.backfill.run import Replayed
from service.explain.figure import DPI, FOR_CSS, INK_CSS, QUIET_CSS, blank, literal

#: Colours of the two that are compared: blue and vermilion, told apart by everybody
#: (Okabe and Ito 2008).
COLOURS: Final = ("#0072b2", "#d55e00")
_SENSOR, _RARITY, _FRAME = 92, 150, 96
#: Sensors drawn, and points of a line: more would be no more to see.
SENSORS, POINTS = 12, 3000


def draw(recording: Recording, sensors: Sequence[str], runs: Sequence[Replayed]) -> bytes:
    """A PNG of one or two runs over the same rows.

    Args:
        recording: what was run.
        sensors: names of its columns.
        runs: one, or two that are compared.
    """
    shown = list(range(min(len(sensors), SENSORS)))
    heights = [_SENSOR] * len(shown) + [_RARITY] * len(runs)
    figure = blank(_FRAME + sum(heights))
    rows = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    times = np.array([datetime.fromtimestamp(t / SECOND, UTC) for t in recording.times])
    seen = recording.values.copy()
    gap = runs[0].gap
    if gap:  # a line across a gap would show values that nobody measured
        seen[1:][np.diff(recording.times) > gap] = np.nan
    for axes, column in zip(rows, shown, strict=False):
        _line(axes, times, seen[:, column], INK_CSS)
        axes.set_ylabel(
            literal(sensors[column], 18), fontsize=7.5, rotation=0, ha="right", va="center"
        )
        for number, run in enumerate(runs):
            _shade(axes, run, recording.times[-1], number, len(runs))
    for number, run in enumerate(runs):
        _rarity(rows[len(shown) + number], times, run, number)
        _shade(rows[len(shown) + number], run, recording.times[-1], 0, 1, COLOURS[number])
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    rows[-1].xaxis.set_major_locator(locator)
    shown_as = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]
    rows[-1].xaxis.set_major_formatter(shown_as)
    rows[-1].set_xlim(times[0], times[-1])
    rows[-1].set_xlabel("UTC", fontsize=8, color=QUIET_CSS)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _line(axes: Any, times: NDArray[Any], values: NDArray[Any], colour: str) -> None:
    step = max(1, len(values) // POINTS)
    axes.plot(times[::step], values[::step], color=colour, linewidth=0.7)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(labelsize=7, colors=QUIET_CSS, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET_CSS)


def _rarity(axes: Any, times: NDArray[Any], run: Replayed, number: int) -> None:
    """-log10 of the p-values and of the level: up is rare, above the line exceeds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        rarity = -np.log10(run.p_values)
        level = -np.log10(np.maximum(run.alphas, 1e-6))
    step = max(1, len(times) // POINTS)
    axes.fill_between(
        times[::step], 0, np.nan_to_num(rarity)[::step], color=COLOURS[number], alpha=0.35, lw=0,
        step="mid",
    )  # fmt: skip
    _line(axes, times, level, FOR_CSS if number == 0 else INK_CSS)
    axes.set_ylabel(
        literal(run.label, 40) + "\nrarity, $-\\log_{10}\\,p$", fontsize=7.5, rotation=0,
        ha="right", va="center",
    )  # fmt: skip
    top = np.nanmax(rarity) if np.isfinite(rarity).any() else 1.0
    axes.set_ylim(0, 1.15 * max(1.0, float(top)))


def _shade(
    axes: Any, run: Replayed, end: int, number: int, of: int, colour: str | None = None
) -> None:
    """Shade alarms; of two runs each takes its half of the height."""
    low, high = (0.0, 1.0) if of == 1 else ((0.5, 1.0) if number == 0 else (0.0, 0.5))
    for raised, cleared in run.spans(end):
        axes.axvspan(
            datetime.fromtimestamp(raised / SECOND, UTC),
            datetime.fromtimestamp(cleared / SECOND, UTC),
            low, high, color=colour or COLOURS[number], alpha=0.28, linewidth=0,
        )  # fmt: skip
        axes.axvline(
            datetime.fromtimestamp(raised / SECOND, UTC), low, high,
            color=colour or COLOURS[number], linewidth=0.9,
        )  # fmt: skip
