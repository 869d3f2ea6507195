"""Topic patterns and payloads: by hand, and whatever a plant may send."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from service.connectors.config import Subscription
from service.connectors.payloads import Rows, aged, parse
from service.connectors.topics import Pattern, filled
from service.errors import InvalidParameter, InvalidRequest, MalformedBody

ROWS = Subscription(topic="plant/{line}", model="skab", stream="{line}")


@pytest.mark.parametrize(
    ("pattern", "topic", "names"),
    [
        ("plant/{line}/{group}/rows", "plant/7/press/rows", {"line": "7", "group": "press"}),
        ("plant/{line}/rows", "plant/7/press/rows", None),
        ("plant/{line}/rows", "plant//rows", {"line": ""}),
        ("plant/+/{group}", "plant/7/press", {"group": "press"}),
        ("plant/{line}/#", "plant/7", {"line": "7"}),
        ("plant/{line}/#", "plant/7/a/b", {"line": "7"}),
        ("#", "a/b", {}),
        ("{a}/b", "$SYS/b", None),  # section 4.7.2
        ("#", "$SYS/b", None),
        ("plant", "Plant", None),
    ],
)
def test_patterns_by_hand(pattern: str, topic: str, names: dict[str, str] | None) -> None:
    assert Pattern(pattern).match(topic) == names


@pytest.mark.parametrize(
    "pattern", ["", "a/#/b", "a/b+", "a{b}", "{a}/{a}", "a/{B}", "{}", "a/{b", "\0"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameter, match="topic"):
        Pattern(pattern)


LEVELS = st.text(alphabet="ab$", max_size=2)


@given(
    st.lists(st.sampled_from(["a", "b", "$", "+", "{x}"]), min_size=1, max_size=4, unique=True),
    st.booleans(),
    st.lists(LEVELS, min_size=1, max_size=4),
)
def test_a_pattern_fits_exactly_the_topics_that_the_broker_sends_for_its_filter(
    levels: list[str], open_end: bool, topic: list[str]
) -> None:
    pattern = Pattern("/".join([*levels, "#"] if open_end else levels))
    name = "/".join(topic)
    if not name:
        return
    assert (pattern.match(name) is not None) == topic_matches_sub(pattern.filter, name)


def test_a_level_that_no_stream_can_be_called_is_refused() -> None:
    assert filled("{line}.{group}", {"line": "7", "group": "press-2"}) == "7.press-2"
    for level in ("", "a b", "ä", "-a", "a" * 65, "a/b"):
        with pytest.raises(InvalidParameter, match="cannot be part of the name"):
            filled("{line}", {"line": level})


@pytest.mark.parametrize(
    ("form", "payload", "rows"),
    [
        ({}, {"time": "T", "a": 1}, [{"time": "T", "a": 1}]),
        ({}, [{"time": "T", "a": 1}, {"time": "U", "a": None}],
         [{"time": "T", "a": 1}, {"time": "U", "a": None}]),
        ({"time_field": "ts", "time_unit": "ms"}, {"ts": 1700000000123, "a": 1},
         [{"time": "2023-11-14T22:13:20.123000Z", "a": 1}]),
        ({"time_field": "ts", "time_unit": "ns"}, {"ts": 1700000000123456789, "a": 1},
         [{"time": "2023-11-14T22:13:20.123456Z", "a": 1}]),
        ({"time_field": "ts", "time_unit": "s"}, {"ts": 0.5, "a": 1},
         [{"time": "1970-01-01T00:00:00.500000Z", "a": 1}]),
        ({"values_field": "v", "rename": {"t1": "heat"}}, {"time": "T", "v": {"t1": 3}, "q": 0},
         [{"time": "T", "heat": 3}]),
    ],
)  # fmt: skip
def test_payloads_by_hand(form: dict[str, Any], payload: Any, rows: list[Any]) -> None:
    chosen = ROWS.model_copy(update=form)
    assert parse(orjson.dumps(payload), chosen).rows == rows


def test_history_is_said_by_the_message_or_by_the_subscription() -> None:
    said = orjson.dumps({"rows": [{"time": "T", "a": 1}], "is_historical": True})
    assert parse(said, ROWS).is_historical
    plain = orjson.dumps({"time": "T", "a": 1})
    assert not parse(plain, ROWS).is_historical
    assert parse(plain, ROWS.model_copy(update={"is_historical": True})).is_historical


def test_rows_that_waited_too_long_become_history() -> None:
    def said(seconds: float) -> Rows:
        moment = datetime.now(UTC) - timedelta(seconds=seconds)
        return Rows([{"time": moment.isoformat(), "a": 1}], False)

    assert not aged(said(50), 60).is_historical
    assert aged(said(70), 60).is_historical
    assert not aged(said(70), 0).is_historical
    assert not aged(Rows([{"time": "yesterday", "a": 1}], False), 60).is_historical


@pytest.mark.parametrize(
    ("form", "payload", "reason"),
    [
        ({}, 5, "row 0: got int '5', wanted an object"),
        ({}, [{"time": "T", "a": 1}, None], "row 1: got null"),
        ({}, {"rows": [], "is_historical": True}, "no row in it"),
        ({}, {"rows": [{"time": "T", "a": 1}], "is_historical": "yes"}, "wanted true or false"),
        ({"time_unit": "ms"}, {"time": "2026", "a": 1}, "wanted a number of ms since 1970"),
        ({"time_unit": "s"}, {"time": 1700000000123, "a": 1}, "which no calendar has; is it in s?"),
        ({"time_unit": "s"}, {"time": True, "a": 1}, "got bool"),
        ({"values_field": "v"}, {"time": "T", "a": 1}, "'v': got null"),
        ({"rename": {"a": "b"}}, {"time": "T", "a": 1, "b": 2}, "two values for 'b'"),
        ({"rename": {"a": "time"}}, {"time": "T", "a": 1}, "two values for 'time'"),
    ],
)
def test_malformed_payloads_say_where(form: dict[str, Any], payload: Any, reason: str) -> None:
    with pytest.raises(MalformedBody, match=reason.replace("?", r"\?")):
        parse(orjson.dumps(payload), ROWS.model_copy(update=form))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["time", "rows", "a"]), inner),
)


@given(st.binary() | JSON.map(lambda one: orjson.dumps(str(one)) if one else b"null"))
def test_any_bytes_are_rows_or_refused(payload: bytes) -> None:
    with suppress(InvalidRequest):
        parse(payload, ROWS)


@given(JSON, st.sampled_from(["rfc3339", "s", "ns"]))
def test_any_json_is_rows_or_refused(said: Any, unit: str) -> None:
    form = ROWS.model_copy(update={"time_unit": unit})
    try:
        payload = orjson.dumps(said)
    except TypeError:
        return  # an integer that JSON does not hold
    with suppress(InvalidRequest):
        parsed = parse(payload, form)
        assert all(isinstance(one["time"], str) and len(one) > 1 for one in parsed.rows)
