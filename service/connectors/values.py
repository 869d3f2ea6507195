"""A message's bytes as values of one sensor, whose name stands in the topic."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from service.anomaly.times import SECOND, microseconds
from service.connectors.joining import Value
from service.connectors.payloads import kind, moment
from service.connectors.routes import Destination
from service.errors import InvalidRequest, MalformedBody

#: So far ahead of this clock may a value be: time goes by the values, and one from next year
#: would make all that follow late.
AHEAD_S = 60.0
_EXAMPLE = '3.2 or {"value": 3.2, "time": "2026-11-26T08:00:00Z"}'


def parse(payload: bytes, to: Destination, now: int) -> list[Value]:
    """The values of a JSON payload: a number, an object with a value and a time, a list of these.

    Args:
        payload: as it came.
        to: the stream and the sensor.
        now: microseconds since 1970.

    Raises:
        MalformedBody: no JSON, no number, no time where one is wanted.
        InvalidRequest: the sensor is none of the stream's.
    """
    join, form = to.form.join, to.form
    assert join is not None  # whoever asks knows
    sensor = form.rename.get(to.sensor, to.sensor)
    if sensor not in join.sensors:
        raise InvalidRequest(
            f"topic: sensor '{to.sensor[:80]}' is none of {', '.join(join.sensors)}. Add it to "
            "join.sensors of the bridge where the model has it, or rename it."
        )
    try:
        said: Any = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"payload: no JSON ({error}). Send {_EXAMPLE}") from None
    many = said if isinstance(said, list) else [said]
    if not many:
        raise MalformedBody(f"payload: no value in it. Send {_EXAMPLE}")
    return [Value(sensor, *_read(one, place, to, now)) for place, one in enumerate(many)]


def _read(said: Any, place: int, to: Destination, now: int) -> tuple[int | None, float | None]:
    """Time and value of one."""
    join, form = to.form.join, to.form
    assert join is not None
    time: int | None = None
    if isinstance(said, dict):
        if join.value_field not in said:
            raise MalformedBody(f"payload: value {place}: no '{join.value_field}'. Send {_EXAMPLE}")
        if form.time_field in said:
            time = _time(moment(said[form.time_field], place, form), place, form.time_field)
        said = said[join.value_field]
    if isinstance(said, bool) or not (said is None or isinstance(said, (int, float))):
        raise MalformedBody(f"payload: value {place}: got {kind(said)}, wanted a number {_EXAMPLE}")
    if time is None and not join.period_s:
        raise MalformedBody(
            f"payload: value {place}: no '{form.time_field}', and values of one time become a row. "
            f"Send {_EXAMPLE}, or set join.period_s of the bridge, so that last values do."
        )
    if time is not None and time - now > AHEAD_S * SECOND:
        raise MalformedBody(
            f"payload: value {place}: it is of {(time - now) / SECOND:.0f} s from now, at most "
            f"{AHEAD_S:.0f} s are taken. Set the sender's clock."
        )
    return time, said


def _time(text: str, place: int, field: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError("it has no offset from UTC")
        return microseconds(found)
    except (ValueError, OverflowError) as error:
        raise MalformedBody(
            f"payload: value {place}: '{field}': got '{text[:40]}', wanted RFC 3339 such as "
            f"2026-11-26T08:00:00Z ({error})."
        ) from None
