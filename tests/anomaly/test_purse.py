"""The purse of alarm events: what alarms take, what time pays, what people give back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.anomaly.purse import REMEMBERED, WITHIN, Purse
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND

CONFIG = StreamConfig(events_per_hour=2, saved_events=1)
HOUR = 3600 * SECOND


class Clock:
    """A purse and its judged rows, one a minute."""

    def __init__(self, config: StreamConfig = CONFIG) -> None:
        self.config, self.now, self.number = config, 0, 0
        self.purse = Purse.begin(config.saved_events)

    def minutes(self, count: int) -> None:
        for _ in range(count):
            self.now += 60 * SECOND
            self.purse.pay(self.config, 60)

    def alarm(self) -> None:
        self.number += 1
        self.purse.take(self.number, self.now, self.config)

    def say(self, number: int, true: bool) -> float:
        return self.purse.say(number, true, self.now, self.config)[0]


def test_an_alarm_takes_an_event_time_pays_it_and_a_true_one_is_given_back_once() -> None:
    one = Clock()
    assert one.purse.debt == -1
    one.alarm()
    one.alarm()
    assert one.purse.debt == 1
    assert one.purse.lowered(CONFIG) == pytest.approx(0.0067379, abs=1e-7)  # e^-5
    one.minutes(15)  # two events an hour
    assert one.purse.debt == pytest.approx(0.5)
    assert one.say(1, true=True) == pytest.approx(1)
    assert one.purse.debt == pytest.approx(-0.5)
    assert one.purse.lowered(CONFIG) == 1
    assert one.say(1, true=True) == 0
    assert one.purse.debt == pytest.approx(-0.5)


def test_what_quiet_hours_have_paid_already_is_not_given_back_again() -> None:
    one = Clock()
    one.alarm()
    one.minutes(60)
    assert one.purse.debt == -1  # full again
    assert one.say(1, true=True) == 0
    one.alarm()
    assert one.purse.debt == pytest.approx(0)


def test_the_last_word_counts() -> None:
    one = Clock()
    one.alarm()
    one.alarm()
    assert one.say(2, true=False) == 0  # it took an event out, as every alarm does
    assert one.say(2, true=True) == pytest.approx(1)
    one.minutes(240)
    assert one.purse.debt == -1
    one.alarm()
    one.alarm()
    # Four hours have paid for it by now: as if it had never been given back.
    assert one.say(2, true=False) == 0
    assert one.purse.debt == pytest.approx(1)
    assert one.say(4, true=True) == pytest.approx(1)
    assert one.say(4, true=False) == pytest.approx(-1)
    assert one.purse.debt == pytest.approx(1)


def test_a_word_that_comes_late_or_of_nothing_changes_nothing() -> None:
    one = Clock()
    one.alarm()
    one.alarm()
    had = one.purse.debt
    for number, now, config in (
        (3, one.now, CONFIG),
        (1, one.now + WITHIN + 1, CONFIG),
        (1, one.now, StreamConfig(rate=0.01)),
    ):
        returned, why = one.purse.say(number, True, now, config)
        assert (returned, one.purse.debt, one.purse.true) == (0, had, [])
        assert why
    assert "24 hours" in one.purse.say(1, True, WITHIN + 1, CONFIG)[1]
    assert "given back" in one.purse.say(1, True, WITHIN, CONFIG)[1]


def test_only_the_last_alarms_are_remembered_and_all_of_it_is_json() -> None:
    one = Clock()
    for _ in range(REMEMBERED + 3):
        one.alarm()
        one.minutes(1)
        one.say(one.number, true=one.number % 2 == 0)
    assert len(one.purse.taken) == REMEMBERED
    assert set(one.purse.true) <= set(one.purse.taken)
    assert one.say(3, true=True) == 0
    assert Purse.of_json(json.loads(json.dumps(one.purse.to_json()))) == one.purse
    one.minutes(25 * 60)
    one.alarm()
    assert list(one.purse.taken) == [one.number]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("minutes"), st.integers(1, 90)),
            st.tuples(st.just("alarm"), st.just(0)),
            st.tuples(st.sampled_from(["true", "false"]), st.integers(1, 12)),
        ),
        max_size=40,
    ),
    st.integers(0, 40),
)
@settings(deadline=None)
def test_it_is_what_it_were_had_true_alarms_taken_nothing(
    acts: list[tuple[str, int]], moved: int
) -> None:
    one = Clock()
    verdicts: dict[int, str] = {}
    for at, (act, value) in enumerate(acts):
        if at == moved:  # a restart between
            one.purse = Purse.of_json(json.loads(json.dumps(one.purse.to_json())))
        if act == "minutes":
            one.minutes(value)
        elif act == "alarm":
            one.alarm()
        elif value <= one.number and one.now - one.purse.taken.get(value, -WITHIN) <= WITHIN:
            one.say(value, act == "true")
            verdicts[value] = act
    other = Clock()
    for act, value in acts:
        if act == "minutes":
            other.minutes(value)
        elif act == "alarm":
            other.number += 1
            if verdicts.get(other.number) != "true":
                other.purse.take(other.number, other.now, CONFIG)
    assert one.purse.debt == pytest.approx(other.purse.debt, abs=1e-9)
