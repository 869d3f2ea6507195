"""What is told of a stream: its state, budget, realised rate, warm-up and alarm."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from service.anomaly.drift_advice import evidence_of
from service.anomaly.drift_evidence import measured
from service.anomaly.stream import Stream
from service.anomaly.times import SECOND, rfc3339
from service.anomaly.track import Outcome
from service.errors import Conflict


def described(stream: Stream) -> dict[str, Any]:
    """A stream as JSON values."""
    key, config, track = stream.key, stream.config, stream.track
    counts = asdict(stream.counts)
    observed = counts.pop("observed")
    hours = observed / SECOND / 3600
    last = None
    if track.times:
        said = Outcome(*track.outcomes[-1])
        last = {"time": rfc3339(track.times[-1]), **said._asdict()}
    return {
        "model_name": key.model,
        "model_version": key.version,
        "stream": key.stream,
        "line": key.line,
        "sensors": list(stream.subject.sensors),
        "window_rows": track.steps,
        "period_s": track.period / SECOND if track.period else None,
        "state": _state(stream),
        "settings": config.model_dump(mode="json"),
        "budget": _budget(stream, hours),
        "warm_up": _warm_up(stream),
        "counts": counts,
        "observed_hours": hours,
        "alarm": _alarm(stream),
        "feedback": {**stream.feedback.said, "precision": stream.feedback.precision},
        "drift": _drift(stream),
        "last_row": last,
    }


def _drift(stream: Stream) -> dict[str, Any] | None:
    """What has drifted, by how much, since when, and what to do; None where nobody looks."""
    drift = stream.drift
    if drift is None:
        return None
    said = evidence_of(drift.signals(), len(stream.subject.sensors))
    if not drift.learnt:
        said["because"] = "the reference is still being learnt"
    elif drift.drifting and not said["signals"]:
        said["because"] = "what had drifted is back, and has to stay there for a while"
    return {
        "drifting": drift.drifting,
        "learnt": drift.learnt,
        "reference": "the model's" if stream.subject.usual is not None else "the first rows",
        **said,
    }


def drift_history(stream: Stream) -> dict[str, Any]:
    """All that is known of the drift: what shows it, and for a plot spreads block by block.

    Raises:
        Conflict: nobody looks for drift in this stream.
    """
    drift = stream.drift
    if drift is None:
        raise Conflict(
            f"stream '{stream.key.stream}': its setting drift_rows is 0, so that nobody looks for "
            "drift."
        )
    ends, spreads = drift.history()
    shown = [[None if np.isnan(x) else round(float(x), 4) for x in row] for row in spreads.T]
    return {
        "model_name": stream.key.model,
        "model_version": stream.key.version,
        "stream": stream.key.stream,
        **(_drift(stream) or {}),
        "spreads_wanted": drift.spreads,
        "period_s": stream.track.period / SECOND if stream.track.period else None,
        **measured(drift),
        "times": [rfc3339(int(end)) for end in ends],
        "spreads": dict(zip(drift.names, shown, strict=True)),
    }


def _state(stream: Stream) -> str:
    if not stream.levels.ready:
        return "warming-up"
    if stream.alarm.faulty:
        return "active"
    if stream.alarm.active:
        return "latched"
    return "warming-up" if stream.track.run < stream.track.steps else "normal"


def _budget(stream: Stream, hours: float) -> dict[str, Any]:
    """What was asked for, and what came of it so far."""
    config, judge, period = stream.config, stream.levels.judge, stream.track.period
    present = stream.levels.look(0.0, config).alpha if judge else None
    return {
        "events_per_hour": config.events,
        "row_rate": config.row_rate(period / SECOND) if period else config.rate,
        "present_level": present,
        "saved_events": max(0.0, -stream.levels.purse.debt),
        "unpaid_events": max(0.0, stream.levels.purse.debt),
        "realised_row_rate": judge.realised if judge else None,
        "judged_rows": judge.rows if judge else 0,
        "live_alarms": stream.counts.live_alarms,
        "live_alarms_per_hour": stream.counts.live_alarms / hours if hours else None,
        "frozen": stream.alarm.faulty,
    }


def _warm_up(stream: Stream) -> dict[str, Any]:
    levels = stream.levels
    wanted = levels.wanted if levels.wanted >= 0 else stream.config.warm_up_rows
    return {
        "over": levels.ready,
        "rows": wanted if levels.ready else len(levels.warm),
        "rows_wanted": wanted,
        "window_filled": stream.track.run >= stream.track.steps,
    }


def _alarm(stream: Stream) -> dict[str, Any] | None:
    """The stream's last alarm; None before the first."""
    alarm = stream.alarm
    standing = alarm.standings.get(alarm.number)
    if standing is None:
        return None
    until = alarm.shelved_until
    return {
        "alarm": stream.key.alarm_id(alarm.number),
        "active": alarm.active,
        "raised": rfc3339(standing.raised),
        "cleared": None if standing.cleared is None else rfc3339(standing.cleared),
        "acknowledged": standing.acknowledged,
        "confirmed": standing.confirmed,
        "historical": standing.historical,
        "shelved": None if until is None else "until it ends" if until < 0 else rfc3339(until),
    }
