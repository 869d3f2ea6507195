"""Rows of streams: three forms of the same rows, and what is refused, in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.errors import InvalidRequest, MalformedBody, TensorMismatch, TooLarge
from service.protocol.stream_rows import decode, event_time

SENSORS = ("flow", "heat")
FORMS = {
    "application/json": b'{"rows": [{"time": "2026-03-01T12:00:00Z", "flow": 1, "heat": 2.5},'
    b'{"time": "2026-03-01T13:00:00.25+01:00", "heat": 3}]}',
    "application/x-ndjson": b'{"time": "2026-03-01T12:00:00Z", "flow": 1, "heat": 2.5}\n'
    b'{"time": "2026-03-01T13:00:00.25+01:00", "flow": null, "heat": 3}\n\n',
    "text/csv": b"heat,time,flow\r\n2.5,2026-03-01T12:00:00Z,1\r\n"
    b"3,2026-03-01T13:00:00.25+01:00,\r\n",
}


@pytest.mark.parametrize("kind", FORMS)
def test_three_forms_of_the_same_rows(kind: str) -> None:
    rows = decode(FORMS[kind], kind, SENSORS, "L1.a", 10).rows["L1.a"]
    assert [time - 1_772_366_400_000_000 for time in rows.times] == [0, 250_000]
    np.testing.assert_array_equal(rows.values, np.float32([[1, 2.5], [np.nan, 3]]))


def test_one_row_alone_and_rows_of_many_streams() -> None:
    one = decode(b'{"time": "2026-03-01T12:00:00Z", "flow": 1, "is_historical": true}', "",
                 SENSORS, "L1.a", 10)  # fmt: skip
    assert (len(one.rows["L1.a"].times), one.historical) == (1, True)
    body = orjson.dumps([
        {"stream": name, "time": f"2026-03-01T12:00:0{at}Z", "flow": at}
        for at, name in enumerate(["L1.b", "L1.a", "L1.b"])
    ])  # fmt: skip
    many = decode(body, "application/json", SENSORS, None, 10)
    assert many.order == ["L1.b", "L1.a", "L1.b"]
    assert many.rows["L1.b"].values[:, 0].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"time": "2026-03-01T12:00:00Z", "speed": 1}', "row 0: speed: no such sensor; there are"),
        ('{"time": "2026-03-01T12:00:00", "flow": 1}', "no offset from UTC"),
        ('{"time": 5, "flow": 1}', "wanted RFC 3339"),
        ('{"flow": 1}', "row 0: has no 'time'"),
        ('{"time": "0001-01-01T00:00:00+23:00"}', "beyond the years 1 to 9999"),
        ('{"time": "9999-12-31T23:00:00-02:00"}', "beyond the years 1 to 9999"),
        ('{"time": "2026-02-30T12:00:00Z", "flow": 1}', "row 0: time"),
        ('{"time": "2026-03-01T12:00:00Z", "flow": "1"}', "row 0: flow: got '1', wanted a finite"),
        ('{"time": "2026-03-01T12:00:00Z", "flow": true}', "row 0: flow: got 'True'"),
        ('{"time": "2026-03-01T12:00:00Z", "flow": 1e39}', "row 0: flow: got '1e+39'"),
        ('{"time": "2026-03-01T12:00:00Z", "flow": [1]}', "row 0: flow"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_name(row: str, said: str) -> None:
    with pytest.raises(TensorMismatch) as refusal:
        decode(row.encode(), "application/json", SENSORS, "L1.a", 10)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"3"),
        ("application/json", b'{"rows": []}'),
        ("application/json", b'{"rows": [3]}'),
        ("application/json", b'{"rows": [], "more": 1}'),
        ("application/json", b'{"rows": [{}], "is_historical": 1}'),
        ("application/x-ndjson", b"{}\n{"),
        ("text/csv", b""),
        ("text/csv", b"flow,heat\n1,2\n"),
        ("text/csv", b"time,flow\n2026-03-01T12:00:00Z\n"),
        ("text/csv", b'time,flow\n"2026'),
        ("text/csv", b"\xff"),
    ],
)
def test_what_does_not_parse_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        decode(body, kind, SENSORS, "L1.a", 10)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(TooLarge, match="got 2, at most 1"):
        decode(FORMS["text/csv"], "text/csv", SENSORS, "L1.a", 1)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([*FORMS, "text/plain", ""]))
def test_any_bytes_are_rows_or_refused(body: bytes, kind: str) -> None:
    try:
        rows = decode(body, kind, SENSORS, "L1.a", 10).rows["L1.a"]
    except InvalidRequest:
        return
    assert np.isfinite(rows.values[~np.isnan(rows.values)]).all()


@given(st.datetimes(timezones=st.timezones()))
@example(datetime(2107, 1, 1, 0, 0, 0, 295, UTC))  # no float of seconds has this microsecond
def test_a_time_is_exact_to_the_microsecond(moment: datetime) -> None:
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60:
        return  # no RFC 3339
    since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if datetime.min.replace(tzinfo=UTC) <= moment <= datetime.max.replace(tzinfo=UTC):
        assert event_time(moment.isoformat(), 0) == since
