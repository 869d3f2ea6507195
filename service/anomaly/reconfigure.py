"""Other settings for a stream that runs: what it has learnt stays, or the change is refused."""

from __future__ import annotations

from typing import Any, Final

from service.anomaly.stream import Stream
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.errors import CalibrationError, Conflict

#: What the scores that a stream is calibrated on, and its blocks of drift, were made with.
MADE_WITH: Final = (
    "period_s", "warm_up_rows", "own_reference", "follow_s", "smoothing", "drift_rows",
)  # fmt: skip

#: by setting, its value before and after
Changes = dict[str, list[Any]]


def changes(before: StreamConfig, after: StreamConfig) -> Changes:
    """What differs, as JSON values."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {name: [old[name], new[name]] for name in old if old[name] != new[name]}


def reconfigure(stream: Stream, config: StreamConfig) -> Changes:
    """From the next row on other settings hold; an alarm that is on stays on.

    With another budget the calibration keeps its scores, and its level keeps its place between none
    and the most: rows that exceeded are counted anew, and earlier alarms have taken their event.

    Args:
        stream: with rows or without.
        config: all of its settings.

    Returns:
        What is another now.

    Raises:
        Conflict: the calibration was made with one of them, or has too few scores for the budget.
            Nothing has changed then.
    """
    found = changes(stream.config, config)
    where = f"stream '{stream.key.stream}'"
    if held := [name for name in MADE_WITH if name in found]:
        had = ", ".join(f"{name} {found[name][0]}" for name in held)
        raise Conflict(
            f"{where}: {had}: what it has learnt was learnt with that. PATCH changes "
            "only the settings that it is given; to have these otherwise, DELETE the stream to "
            "begin anew."
        )
    try:
        stream.levels.retune(config, stream.track.period / SECOND, stream.subject.adaptive)
    except CalibrationError as error:
        raise Conflict(
            f"{where}: its calibration is too small for this budget ({error}) DELETE the stream to "
            "begin anew: it warms up for as long as the budget needs."
        ) from None
    if stream.config.events != config.events or "saved_events" in found:
        stream.levels.purse.close(stream.counts.observed, config)
    stream.config = config
    stream.track.gap = int(stream.track.period * config.gap_periods)
    if stream.drift is not None:
        stream.drift.spreads = config.drift_spreads
    return found
