"""Single values become rows: by hand, in any cut of their sequence, with values that come again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.anomaly.times import SECOND
from service.connectors import values
from service.connectors.config import Join, Subscription
from service.connectors.joining import OPEN, Joiner, Value, folded
from service.connectors.routes import Destination
from service.errors import InvalidRequest

PAIR = Join(sensors=("a", "b"), wait_s=2)
HELD = Join(sensors=("a", "b"), wait_s=0, period_s=1, hold_s=3)
NOON = 1_795_694_400 * SECOND  # 2026-11-26T12:00:00Z
#: What a sensor said, and at which second after noon.
Said = tuple[str, float, float | None]


def run(said: list[Said], join: Join, joiner: Joiner | None = None) -> tuple[list[Any], list[str]]:
    """Rows, their times as seconds after noon, and what became of each value."""
    joiner = joiner or Joiner()
    rows, outcomes = [], []
    for sensor, second, number in said:
        one = Value(sensor, NOON + int(second * SECOND), number)
        outcome, made = joiner.take(one, 0, join)
        outcomes.append(outcome)
        rows += [{**row, "time": _second(row["time"])} for row in made]
    return rows, outcomes


def _second(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime(2026, 11, 26, 12, tzinfo=UTC)).total_seconds()


@pytest.mark.parametrize(
    ("said", "rows", "outcomes"),
    [
        # whole at once, whatever comes first
        ([("a", 0, 1), ("b", 0, 2)], [{"time": 0, "a": 1, "b": 2}], ["taken"] * 2),
        ([("b", 0, 2), ("a", 0, 1)], [{"time": 0, "a": 1, "b": 2}], ["taken"] * 2),
        # nothing measured is a value too, and a row of nothing is none
        ([("a", 0, None), ("b", 0, 2)], [{"time": 0, "b": 2}], ["taken"] * 2),
        ([("a", 0, None), ("b", 0, None)], [], ["taken"] * 2),
        # a row is waited for so long as times go on by, and those behind it wait with it
        ([("a", 0, 1), ("a", 1, 1), ("b", 1, 2), ("a", 2, 1)], [], ["taken"] * 4),
        ([("a", 0, 1), ("a", 1, 1), ("b", 1, 2), ("a", 2.1, 1)],
         [{"time": 0, "a": 1}, {"time": 1, "a": 1, "b": 2}], ["taken"] * 4),
        # within that time in any order
        ([("a", 1, 3), ("b", 0, 2), ("b", 1, 4), ("a", 0, 1)],
         [{"time": 0, "a": 1, "b": 2}, {"time": 1, "a": 3, "b": 4}], ["taken"] * 4),
        # again: known in a row that waits, and in one that is gone
        ([("a", 0, 1), ("a", 0, 1), ("b", 0, 2), ("a", 0, 1), ("b", 0, 2)],
         [{"time": 0, "a": 1, "b": 2}], ["taken", "again", "taken", "again", "again"]),
        # late: its row is gone without it
        ([("a", 0, 1), ("a", 9, 1), ("b", 0, 2)], [{"time": 0, "a": 1}],
         ["taken", "taken", "late"]),
        # the first of two that contradict each other stays
        ([("a", 0, 1), ("a", 0, 7), ("b", 0, 2)], [{"time": 0, "a": 1, "b": 2}],
         ["taken", "different", "taken"]),
    ],
)  # fmt: skip
def test_values_of_one_time_are_a_row(said: list[Said], rows: Any, outcomes: list[str]) -> None:
    assert run(said, PAIR) == (rows, outcomes)


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        # a tick is made once time has gone beyond it, of the last values up to it
        ([("a", 0.2, 1), ("b", 0.7, 2), ("a", 0.9, 3)], []),
        ([("a", 0.2, 1), ("b", 0.7, 2), ("a", 0.9, 3), ("a", 1.1, 4)],
         [{"time": 1, "a": 3, "b": 2}]),
        # a value at the tick belongs to it
        ([("a", 1, 1), ("a", 1.1, 2), ("a", 2.5, 3)], [{"time": 1, "a": 1}, {"time": 2, "a": 2}]),
        # held for 3 seconds, then it is none; of none there is no row
        ([("a", 1, 1), ("b", 3.5, 2), ("b", 6.1, 3)],
         [{"time": 1, "a": 1}, {"time": 2, "a": 1}, {"time": 3, "a": 1},
          {"time": 4, "a": 1, "b": 2}, {"time": 5, "b": 2}, {"time": 6, "b": 2}]),
        ([("a", 1, 1), ("a", 100.5, 2), ("a", 101.5, 3)],
         [{"time": 1, "a": 1}, {"time": 2, "a": 1}, {"time": 3, "a": 1}, {"time": 4, "a": 1},
          {"time": 101, "a": 2}]),
        # late for its own tick, and yet the last one for the next; an older one is not
        ([("a", 1, 1), ("a", 2.1, 2), ("b", 1.5, 7), ("b", 1.2, 6), ("a", 3.1, 3)],
         [{"time": 1, "a": 1}, {"time": 2, "a": 1}, {"time": 3, "a": 2, "b": 7}]),
        # no value is a value: it ends the one before
        ([("a", 1, 1), ("b", 1, 1), ("a", 1.5, None), ("b", 2.1, 2)],
         [{"time": 1, "a": 1, "b": 1}, {"time": 2, "b": 1}]),
    ],
)  # fmt: skip
def test_last_values_are_a_row_at_every_tick(said: list[Said], rows: Any) -> None:
    assert run(said, HELD)[0] == rows


def test_values_without_a_time_have_that_of_their_coming_and_never_go_back() -> None:
    joiner, rows = Joiner(), []
    for came, number in ((0.2, 1), (0.9, 2), (0.1, 3), (2.1, 4)):  # the clock was set back once
        one = Value("a", None, number)
        rows += joiner.take(one, NOON + int(came * SECOND), HELD)[1]
    assert [(_second(row["time"]), row["a"]) for row in rows] == [(1, 3), (2, 3)]


SAID = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 12).map(lambda at: at / 2),
        st.sampled_from([1.0, 2.0, None]),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(SAID, st.sampled_from([PAIR, HELD]), st.integers(0, 60))
def test_wherever_it_is_killed_the_same_values_make_the_same_rows(
    said: list[Said], join: Join, cut: int
) -> None:
    came = [(Value(s, NOON + int(at * SECOND), v), 0, join) for s, at, v in said]
    _, whole, outcomes = folded(None, came)
    state, first, before = folded(None, came[:cut])
    _, rest, after = folded(state, came[cut:])
    assert first + rest == whole
    assert before + after == outcomes


@settings(deadline=None)
@given(SAID, st.sampled_from([PAIR, HELD]), st.integers(0, 60), st.integers(0, 20))
def test_what_a_broker_delivers_again_makes_no_row_again_and_changes_none(
    said: list[Said], join: Join, cut: int, again: int
) -> None:
    """Kept and not acknowledged, the last values before a kill come once more."""
    joiner = Joiner()
    first, _ = run(said[:cut], join, joiner)
    before = joiner.state()
    repeated, outcomes = run(said[max(0, cut - again) : cut], join, joiner)
    assert repeated == []
    assert joiner.state() == before
    assert "taken" not in outcomes
    assert first + run(said[cut:], join, joiner)[0] == run(said, join)[0]


@settings(deadline=None)
@given(SAID, st.sampled_from([PAIR, HELD]))
def test_rows_go_in_the_order_of_their_times_each_once(said: list[Said], join: Join) -> None:
    times = [row["time"] for row in run(said, join)[0]]
    assert times == sorted(set(times))


def test_what_waits_is_bounded() -> None:
    said: list[Said] = [("a", at / 1000, 1.0) for at in range(5 * OPEN)]
    joiner = Joiner()
    rows, _ = run(said, PAIR, joiner)
    assert len(joiner.open) == OPEN
    assert len(rows) == 4 * OPEN
    assert len(joiner.state()) < 64 * OPEN


def destination(**form: Any) -> Destination:
    said = {"topic": "p/{line}/{sensor}", "model": "m", "stream": "{line}", "join": PAIR, **form}
    return Destination("m", "l", Subscription(**said), "a", "p/l/+")


@pytest.mark.parametrize(
    ("form", "payload", "found"),
    [
        ({}, {"value": 3.2, "time": "2026-11-26T12:00:01Z", "unit": "bar"}, [(1, 3.2)]),
        ({}, {"value": None, "time": "2026-11-26T13:00:01+01:00"}, [(1, None)]),
        ({}, [{"value": 1, "time": "2026-11-26T12:00:00Z"},
              {"value": 2, "time": "2026-11-26T12:00:01Z"}], [(0, 1), (1, 2)]),
        ({"join": HELD}, 3.2, [(None, 3.2)]),
        ({"join": HELD}, {"value": 3}, [(None, 3)]),
        ({"time_field": "t", "time_unit": "ms",
          "join": Join(sensors=("a",), value_field="v")}, {"v": 1, "t": NOON // 1000}, [(0, 1)]),
        ({"rename": {"a": "b"}, "join": HELD}, 1, [(None, 1)]),
    ],
)  # fmt: skip
def test_values_by_hand(form: dict[str, Any], payload: Any, found: list[Any]) -> None:
    to = destination(**form)
    read = values.parse(orjson.dumps(payload), to, NOON)
    wanted = [(at if at is None else NOON + at * SECOND, value) for at, value in found]
    assert [(one.time, one.value) for one in read] == wanted
    assert {one.sensor for one in read} == {to.form.rename.get("a", "a")}


@pytest.mark.parametrize(
    ("form", "payload", "reason"),
    [
        ({}, b"{", "payload: no JSON"),
        ({}, b"[]", "no value in it"),
        ({}, b"3.2", "no 'time', and values of one time become a row"),
        ({}, b'{"time": "2026-11-26T12:00:00Z"}', "no 'value'"),
        ({}, b'{"value": 1, "time": "2026-11-26T12:00:00"}', "no offset from UTC"),
        ({}, b'{"value": 1, "time": "noon"}', "wanted RFC 3339 such as"),
        ({}, b'{"value": 1, "time": "2027-11-26T12:00:00Z"}', "Set the sender's clock"),
        ({"join": HELD}, b'"3,2"', "value 0: got str"),
        ({"join": HELD}, b"[1, true]", "value 1: got bool"),
        ({"join": Join(sensors=("b", "c"))}, b"1", "sensor 'a' is none of b, c"),
    ],
)
def test_what_is_no_value_says_why(form: dict[str, Any], payload: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        values.parse(payload, destination(**form), NOON)
