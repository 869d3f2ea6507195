"""Other settings for a stream that runs: what it has learnt stays, or nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from service.anomaly.reconfigure import reconfigure
from service.anomaly.snapshots import restore, snapshot
from service.anomaly.stream import Stream
from service.anomaly.stream_config import StreamConfig
from service.errors import Conflict
from tests.anomaly.test_stream import SUBJECT, at, offer, rows, states, stream


def with_others(one: Stream, **settings: Any) -> dict[str, list[Any]]:
    return reconfigure(one, StreamConfig.parse(one.config.model_dump() | settings, "test"))


def calibrated(**settings: object) -> Stream:
    one = stream(**settings)
    offer(one, at(*range(30)), rows(30, 0.5))
    return one


def test_delays_hold_from_the_next_row_on_and_the_calibration_is_the_same_bits() -> None:
    one = calibrated()
    judge = one.levels.judge.state()
    assert with_others(one, on_delay_s=4, off_delay_s=1) == {
        "on_delay_s": [2, 4],
        "off_delay_s": [2, 1],
    }
    assert one.levels.judge.state() == judge
    assert states(one, at(*range(30, 36)), 2.0) == ["pending"] * 4 + ["active"] * 2
    _, events = offer(one, at(36, 37), rows(2, 0.5))
    assert [(event.change, event.time) for event in events] == [("cleared", at(37)[0])]


def test_an_alarm_that_is_on_stays_on() -> None:
    one = calibrated()
    offer(one, at(30, 31, 32, 33), rows(4, 2.0))
    with_others(one, on_delay_s=60, off_delay_s=0, re_alarm_s=2)
    _, events = offer(one, at(34, 35), rows(2, 2.0))
    assert [event.change for event in events] == ["re-alarmed"]
    _, events = offer(one, at(36), rows(1, 0.5))
    assert [event.change for event in events] == ["cleared"]


def test_another_rate_keeps_the_scores_and_counts_anew() -> None:
    one, other = calibrated(), calibrated()
    with_others(one, rate=0.05)
    judge = one.levels.judge
    assert (judge.rows, judge.realised, judge.rate) == (0, 0.0, 0.05)
    (said,), _ = offer(one, at(30), rows(1, 0.97))
    (before,), _ = offer(other, at(30), rows(1, 0.97))
    assert said["p_value"] == before["p_value"] == pytest.approx(31 / 1001, abs=0.001)
    assert said["alpha"] == pytest.approx(5 * before["alpha"])
    assert (said["verdict"], before["verdict"]) == ("anomaly", "normal")


def test_another_budget_of_events_keeps_its_debts_and_ends_the_account_of_old_alarms() -> None:
    one = calibrated(events_per_hour=1, saved_events=4)
    offer(one, at(30, 31, 32, 33), rows(4, 2.0))
    offer(one, at(34, 35, 36, 37), rows(4, 0.5))
    saved = -one.levels.purse.debt
    assert saved == pytest.approx(3, abs=0.02)
    with_others(one, events_per_hour=2)
    assert -one.levels.purse.debt == saved
    with_others(one, saved_events=1)
    assert -one.levels.purse.debt == 1
    event, said = one.say(1, "true", at(40)[0], "Ada", None)
    assert (event.returned, "before the budget was changed" in said["budget"]) == (None, True)


def test_a_stream_that_warms_up_does_so_for_its_new_budget() -> None:
    one = stream(own_reference=True, warm_up_rows=20)
    offer(one, at(*range(12)), rows(12, 0.5))
    assert one.levels.wanted == 99  # 1 % of rows takes 99 scores
    with_others(one, rate=0.04)
    offer(one, at(*range(12, 27)), rows(15, 0.5))
    assert (one.levels.wanted, one.levels.ready) == (24, True)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"smoothing": 0.5}, "smoothing 1.0: what it has learnt was learnt with that"),
        ({"on_delay_s": 9, "own_reference": True, "follow_s": 60}, "own_reference False, follow_s"),
        ({"drift_rows": 0}, "drift_rows 60"),
        ({"rate": 0.0001}, "got reference scores of 1000 for a rate of 0.0001, wanted at least"),
    ],
)
def test_what_the_calibration_does_not_allow_is_refused_and_changes_nothing(
    settings: dict[str, Any], reason: str
) -> None:
    one = calibrated()
    before = snapshot(one)
    with pytest.raises(Conflict, match="DELETE the stream") as error:
        with_others(one, **settings)
    assert reason in str(error.value)
    assert snapshot(one) == before


@pytest.mark.parametrize(
    "settings",
    [{"rate": 0.05, "gap_periods": 2, "drift_spreads": 3}, {"rate": None, "events_per_hour": 60}],
)
def test_it_is_saved_with_its_settings_and_goes_on_bit_for_bit(settings: dict[str, Any]) -> None:
    one = calibrated()
    with_others(one, **settings)
    again = restore(snapshot(one), SUBJECT)
    for begin, flow in ((33, 0.5), (40, 2.0), (60, 0.4)):
        sent = at(*range(begin, begin + 7)), rows(7, flow)
        assert offer(again, *sent) == offer(one, *sent)
    assert again.counts.gaps == one.counts.gaps > 0
    assert snapshot(again) == snapshot(one)
