"""Filters and cursors: what is none is refused, and a cursor says nothing but where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.audit.search import Query, cursor_after, statement
from service.errors import InvalidParameter

QUERY = Query(model="m", since=datetime(2026, 3, 1, tzinfo=UTC))


@given(st.integers(0, 2**62 - 1))
def test_a_cursor_leads_to_the_rows_after_it(sequence: int) -> None:
    cursor = cursor_after({"sequence": sequence}, QUERY)
    assert cursor.isascii()
    compiled = statement(QUERY, 10, cursor).compile()
    assert sequence in compiled.params.values()


@given(st.text(max_size=60))
@example("")
@example("bnVsbA")
@example("W251bGxd")
@example("WzEsMl0")
@example("WzEuNSwiYSJd")
def test_any_other_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidParameter, match="^search: cursor: "):
        statement(QUERY, 10, cursor)


@given(st.text(max_size=300))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    for name in ("model", "version", "decision", "caller", "request_id", "about"):
        if len(text) <= 256 and text.isprintable():
            assert statement(Query(**{name: text}), 1) is not None
        else:
            with pytest.raises(InvalidParameter, match=f"^search: {name}: "):
                Query(**{name: text})


@given(st.datetimes(timezones=st.timezones()))
@example(datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))))
@example(datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))
@example(datetime.max.replace(tzinfo=UTC))
@example(datetime.min.replace(tzinfo=UTC))
def test_every_time_is_searched_or_refused(moment: datetime) -> None:
    for name in ("since", "until"):
        if is_a_time_in_utc(moment):
            assert statement(Query(**{name: moment}), 1) is not None
        else:
            with pytest.raises(InvalidParameter, match="between the years 1 and 9999"):
                Query(**{name: moment})


def is_a_time_in_utc(moment: datetime) -> bool:
    try:
        return bool(moment.astimezone(UTC))
    except OverflowError:
        return False
