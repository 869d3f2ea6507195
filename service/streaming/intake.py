"""Rows as they come in: what their clock may say, and what is answered to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from service.anomaly.stream import StreamKey
from service.anomaly.times import SECOND, rfc3339
from service.errors import StreamRefused
from service.protocol.stream_rows import Body
from service.settings import Settings
from service.streaming.requests import Taken


def check_clock(sent: Body, historical: bool, settings: Settings) -> None:
    """Refuse rows from the future, which would shut out all that follow, and old live ones.

    Args:
        sent: rows.
        historical: whether they are history, which may be as old as it likes.
        settings: limits.

    Raises:
        StreamRefused: there is one.
    """
    now = time.time_ns() // 1000
    for stream, one in sent.rows.items():
        newest, oldest = max(one.times), min(one.times)
        ahead, age = (newest - now) / SECOND, (now - oldest) / SECOND
        if ahead > settings.stream_future_s:
            raise StreamRefused(
                f"stream '{stream}': a row is of {rfc3339(newest)}, {ahead:.0f} s ahead of "
                f"this server's clock; at most {settings.stream_future_s:g} s are "
                "accepted. Set the sender's clock, or raise GLASSLINE_STREAM_FUTURE_S."
            )
        if age > settings.stream_age_s and not historical:
            raise StreamRefused(
                f"stream '{stream}': a row is of {rfc3339(oldest)}, {age / 3600:.1f} h ago; "
                f"live rows are at most {settings.stream_age_s:g} s old. Send it with "
                "is_historical true, set the sender's clock, or raise GLASSLINE_STREAM_AGE_S."
            )


def said_of_rows(
    name: str | None, sent: Body, taken: Mapping[StreamKey, Taken], historical: bool
) -> dict[str, Any]:
    """What became of rows, as it is answered.

    Args:
        name: of the stream, where all rows are of one.
        sent: the rows.
        taken: what became of those of each stream.
        historical: whether they are history.
    """
    by_stream = {key.stream: one for key, one in taken.items()}
    if name is not None:
        rows = by_stream[name].answers
    else:
        left = {stream: iter(one.answers) for stream, one in by_stream.items()}
        rows = [{"stream": stream, **next(left[stream])} for stream in sent.order]
    parts = by_stream.values()
    notes = [_late(stream, one, historical) for stream, one in by_stream.items() if one.late]
    return {
        **({"stream": name} if name is not None else {}),
        "rows": rows,
        "alarms": [line for one in parts for line in one.alarms],
        "accepted": sum(one.accepted for one in parts),
        "duplicates": sum(one.duplicates for one in parts),
        "late": sum(one.late for one in parts),
        **({"notes": notes} if notes else {}),
    }


def _late(stream: str, taken: Taken, historical: bool) -> str:
    """Why rows were dropped, and what to do: a sender whose clock was set back may not see it."""
    what = "row is" if taken.late == 1 else "rows are"
    remedy = (
        "History comes before the live rows of a stream: send it to a stream of its own."
        if historical
        else "Was the sender's clock set back? Until it has caught up nothing of this stream is "
        "judged; DELETE the stream to begin anew, or raise its lateness_s."
    )
    return (
        f"stream '{stream}': {taken.late} {what} older than its newest, of "
        f"{rfc3339(taken.newest)}, by more than its lateness_s, and dropped. {remedy}"
    )
