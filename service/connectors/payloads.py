"""A message's bytes as rows of a stream, in the form that the stream's route takes.

Values are not looked at here: the model's manifest decides, and the server knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from service.connectors.config import Subscription
from service.errors import MalformedBody

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EXAMPLE = '{"time": "2026-11-26T08:00:00Z", "flow": 12.5}'


@dataclass(frozen=True)
class Rows:
    """What one message says.

    Attributes:
        rows: each with `time` (RFC 3339) and a value for each sensor.
        is_historical: it is told of later; no live alarm comes of it.
    """

    rows: list[dict[str, Any]]
    is_historical: bool


def parse(payload: bytes, form: Subscription) -> Rows:
    """The rows of a JSON payload: one object, a list of them, or `{"rows": [...]}`.

    Raises:
        MalformedBody: no JSON, no row, or a row without a time; the message says which.
    """
    try:
        said: Any = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"payload: no JSON ({error}). Send {_EXAMPLE}") from None
    historical = form.is_historical
    if isinstance(said, dict) and "rows" in said:
        if strangers := sorted(set(said) - {"rows", "is_historical"}):
            raise MalformedBody(f"payload: beside 'rows' stands '{strangers[0][:80]}'; leave it.")
        flag = said.get("is_historical", False)
        if not isinstance(flag, bool):
            raise MalformedBody("payload: is_historical: wanted true or false.")
        historical, said = historical or flag, said["rows"]
    many = said if isinstance(said, list) else [said]
    if not many:
        raise MalformedBody("payload: no row in it; send at least one.")
    return Rows([_row(one, place, form) for place, one in enumerate(many)], historical)


def aged(said: Rows, after_s: float) -> Rows:
    """The same, as history where its newest row is older than so many seconds; 0 = never.

    A time that does not parse is the server's to refuse.
    """
    if not after_s or said.is_historical:
        return said
    try:
        newest = max(datetime.fromisoformat(row["time"]) for row in said.rows)
        old = (datetime.now(UTC) - newest).total_seconds() > after_s
    except (ValueError, TypeError):
        return said
    return Rows(said.rows, old)


def _row(said: Any, place: int, form: Subscription) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise MalformedBody(f"payload: row {place}: got {kind(said)}, wanted an object {_EXAMPLE}")
    if form.time_field not in said:
        raise MalformedBody(
            f"payload: row {place}: no '{form.time_field}'; every row has its time."
        )
    values: Any = said
    if form.values_field:
        values = said.get(form.values_field)
        if not isinstance(values, dict):
            raise MalformedBody(
                f"payload: row {place}: '{form.values_field}': got {kind(values)}, wanted an "
                "object of sensors and their values."
            )
    row = {"time": moment(said[form.time_field], place, form)}
    return row | _renamed(values, place, form)


def _renamed(values: Mapping[str, Any], place: int, form: Subscription) -> dict[str, Any]:
    kept = {}
    for name, value in values.items():
        if name == form.time_field and not form.values_field:
            continue
        sensor = form.rename.get(name, name)
        if sensor in kept or sensor == "time":
            raise MalformedBody(f"payload: row {place}: two values for '{sensor[:80]}'.")
        kept[sensor] = value
    if not kept:
        raise MalformedBody(f"payload: row {place}: a time and no value; send {_EXAMPLE}")
    return kept


def moment(said: Any, place: int, form: Subscription) -> str:
    """RFC 3339, whatever the sender counts in; numbers are counted exactly in integers."""
    if form.time_unit == "rfc3339":
        if not isinstance(said, str):
            raise MalformedBody(
                f"payload: row {place}: '{form.time_field}': got {kind(said)}, wanted RFC 3339 "
                "text, or time_unit in the bridge's configuration."
            )
        return said
    if isinstance(said, bool) or not isinstance(said, (int, float)):
        raise MalformedBody(
            f"payload: row {place}: '{form.time_field}': got {kind(said)}, wanted a number of "
            f"{form.time_unit} since 1970."
        )
    parts = _PER_SECOND[form.time_unit]
    micro = said * 1_000_000 // parts if isinstance(said, int) else round(said * 1_000_000 / parts)
    try:
        found = _EPOCH + timedelta(microseconds=micro)
    except OverflowError:
        raise MalformedBody(
            f"payload: row {place}: '{form.time_field}' is {said}, which no calendar has; is it "
            f"in {form.time_unit}?"
        ) from None
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def kind(value: Any) -> str:
    """What was sent instead, for a message: its type and its beginning."""
    return "null" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
