"""Rows of sensor streams: JSON, NDJSON and CSV to times and values.

A row names its time (RFC 3339, with its offset from UTC) and its sensors by name. A sensor that is
left out, null or an empty cell was not measured. Where one body holds rows of many streams, each
row names its `stream`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.anomaly.times import SECOND, microseconds
from service.errors import MalformedBody, TensorMismatch, TooLarge, UnsupportedMediaType
from service.protocol import row_objects

#: Media types that rows may come in.
JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
#: Names of streams: LINE.GROUP, or whatever of these letters.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBERS: Final = frozenset({int, float, type(None)})
#: What is no sensor, and where it is said instead.
_ELSEWHERE: Final = {
    "stream": "Rows that name their stream go to /v2/models/{model}/streams.",
    "is_historical": 'Say ?is_historical=true in the URL, or beside "rows" in JSON.',
}
#: Moments that have a date in UTC, microseconds since 1970: of the years 1 to 9999.
_FIRST: Final = -62_135_596_800 * SECOND
_LAST: Final = 253_402_300_800 * SECOND - 1
#: A number that may be an integer beyond what a float holds is none that a sensor measured.
_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(slots=True)
class Rows:
    """Rows of one stream, in the order in which they came.

    `times` are microseconds since 1970; `values` (n, C), NaN = not measured.
    """

    times: list[int]
    values: NDArray[np.float32]


@dataclass(slots=True)
class Body:
    """What a request brought: rows by stream, and whether they are history.

    `order` names the stream of each row, and `rows` are those of each.
    """

    order: list[str]
    rows: dict[str, Rows]
    historical: bool | None


def decode(
    body: bytes,
    content_type: str,
    sensors: tuple[str, ...],
    stream: str | None,
    max_rows: int,
) -> Body:
    """The rows of a request body.

    Args:
        body: of the request.
        content_type: as the request says; empty is JSON.
        sensors: names that the model knows.
        stream: that all rows are of; None: each row names its own.
        max_rows: most rows.

    Raises:
        MalformedBody: the bytes are not what they claim to be.
        TensorMismatch: a time, name or value does not fit; the message names the row.
        TooLarge: more than `max_rows` rows.
        UnsupportedMediaType: none of JSON, NDJSON and CSV.
    """
    kind = content_type.partition(";")[0].strip().lower()
    historical = None
    if kind in ("", JSON, "application/x-www-form-urlencoded"):
        objects, historical = row_objects.of_json(body)
    elif kind in (NDJSON, "application/ndjson", "application/jsonl"):
        objects = row_objects.of_lines(body)
    elif kind == CSV:
        objects = list(row_objects.of_csv(body))
    else:
        raise UnsupportedMediaType(
            f"rows: Content-Type: got '{kind[:80]}', wanted {JSON}, {NDJSON} or {CSV}."
        )
    if not objects:
        raise MalformedBody('rows: got none. Send at least one: {"rows": [{"time": ..., ...}]}.')
    if len(objects) > max_rows:
        raise TooLarge(
            f"rows: got {len(objects)}, at most {max_rows} are accepted at once. Send fewer, or "
            "raise GLASSLINE_MAX_BATCH_ROWS."
        )
    return _Table(sensors, stream).read(objects, historical)


class _Table:
    def __init__(self, sensors: tuple[str, ...], stream: str | None) -> None:
        self._sensors = sensors
        self._stream = stream
        self._known = frozenset((*sensors, "time", "stream") if stream is None
                                else (*sensors, "time"))  # fmt: skip

    def read(self, objects: list[Any], historical: bool | None) -> Body:
        times, order, cells = [], [], []
        for at, row in enumerate(objects):
            if type(row) is not dict:
                raise MalformedBody(f"rows: row {at}: got {str(row)[:40]!r}, wanted an object.")
            if not row.keys() <= self._known:
                self._refuse_names(at, row)
            times.append(event_time(row.get("time"), at))
            order.append(self._stream or stream_name(row.get("stream"), f"rows: row {at}: "))
            values = [row.get(name) for name in self._sensors]
            if not _NUMBERS.issuperset(map(type, values)):
                self._refuse_value(at, values)
            cells.append(values)
        table = self._floats(cells)
        if self._stream is not None:
            return Body(order, {self._stream: Rows(times, table)}, historical)
        places: dict[str, list[int]] = {}
        for at, name in enumerate(order):
            places.setdefault(name, []).append(at)
        rows = {
            name: Rows([times[mine[0]]], table[mine[0] : mine[0] + 1])
            if len(mine) == 1
            else Rows([times[at] for at in mine], table[mine])
            for name, mine in places.items()
        }
        return Body(order, rows, historical)

    def _floats(self, cells: list[list[Any]]) -> NDArray[np.float32]:
        try:
            wide = np.array(cells, np.float64)  # None becomes NaN
        except OverflowError:
            wide = np.array([[_finite(value) for value in row] for row in cells], np.float64)
        bad = np.argwhere(np.abs(wide) > _LARGEST)
        if len(bad):
            at, column = bad[0].tolist()
            self._refuse_value(at, cells[at], column)
        return wide.astype(np.float32)

    def _refuse_names(self, at: int, row: dict[str, Any]) -> NoReturn:
        unknown = sorted(str(name)[:40] for name in row.keys() - self._known)
        remedy = next(
            (said for name, said in _ELSEWHERE.items() if name in unknown),
            "Send values under these names, and the moment as 'time'.",
        )
        raise TensorMismatch(
            f"rows: row {at}: {', '.join(unknown[:5])}: no such sensor; there are "
            f"{', '.join(self._sensors)}. {remedy}"
        )

    def _refuse_value(self, at: int, values: list[Any], column: int | None = None) -> NoReturn:
        if column is None:
            column = next(n for n, v in enumerate(values) if type(v) not in _NUMBERS)
        raise TensorMismatch(
            f"rows: row {at}: {self._sensors[column]}: got {str(values[column])[:40]!r}, wanted a "
            "finite number, or null where nothing was measured."
        )


def event_time(text: Any, at: int, *, naive: bool = False) -> int:
    """Microseconds since 1970 of a row's time.

    Args:
        text: RFC 3339.
        at: number of the row, for the message.
        naive: whether a time without an offset is taken for UTC.

    Raises:
        TensorMismatch: it is no moment.
    """
    if text is None:
        raise TensorMismatch(
            f"rows: row {at}: has no 'time'. Send the moment at which it was measured, in RFC 3339 "
            "such as 2026-03-01T12:00:00.25Z."
        )
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            if not naive:
                raise ValueError("it has no offset from UTC")
            moment = moment.replace(tzinfo=UTC)
        time = microseconds(moment)
        if not _FIRST <= time <= _LAST:
            raise ValueError("in UTC it is beyond the years 1 to 9999")
        return time
    except (TypeError, ValueError, OverflowError) as error:
        why = str(error) if isinstance(text, str) else "it is no text"
        raise TensorMismatch(
            f"rows: row {at}: time: got {str(text)[:40]!r} ({why[:80]}), wanted RFC 3339 such as "
            "2026-03-01T12:00:00.25Z."
        ) from None


def stream_name(name: Any, where: str = "") -> str:
    """A stream's name as it is.

    Raises:
        TensorMismatch: it is none.
    """
    if name is None:
        raise TensorMismatch(
            f"{where}has no 'stream'. Name one, or POST to /v2/models/{{model}}/streams/{{stream}}."
        )
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise TensorMismatch(
            f"{where}stream: got {str(name)[:60]!r}, wanted LINE.GROUP: 1 to 128 of the letters "
            "A-Z a-z 0-9 . _ -, the first a letter or digit."
        )
    return name


def _finite(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except OverflowError:
        return float("inf")
