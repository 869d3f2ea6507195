"""A stream of rows: what is judged, what is not and why, and that it can be stopped anywhere."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.anomaly.snapshots import key_of, restore, snapshot
from service.anomaly.stream import SILENT_S, Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.errors import Conflict, CorruptStream, InvalidParameter
from tests.running_server import REPOSITORY

KEY = StreamKey("press", "1", "L1.pump")
#: Scores of the model's own calibration: 0.000 to 0.999.
REFERENCE = np.round(np.arange(1000) / 1000, 3)
SUBJECT = Subject(("flow", "heat"), 3, reference=REFERENCE)
START = 1_700_000_000 * SECOND
QUICK = {"period_s": 1.0, "warm_up_rows": 0, "rate": 0.01, "on_delay_s": 2, "off_delay_s": 2}


def stream(**config: object) -> Stream:
    return Stream.begin(KEY, SUBJECT, StreamConfig.parse({**QUICK, **config}, "test"))


def at(*seconds: float) -> list[int]:
    return [START + int(second * SECOND) for second in seconds]


def rows(n: int, flow: float = 1.0) -> NDArray[np.float32]:
    return np.full((n, 2), flow, np.float32)


def offer(one: Stream, times: list[int], values: NDArray[np.float32], **more: bool):
    """Stage and conclude; the score of a window is the newest row's flow, sensors share 3 to 1."""
    staged = one.stage(times, values, **more)
    scores = np.array([window[-1, 0] for window in staged.windows], np.float32)
    shares = np.tile(np.float32([3, 1]), (len(scores), 1))
    return one.conclude(staged, scores, shares)


def states(one: Stream, times: list[int], flow: float = 0.5) -> list[str]:
    return [row["state"] for row in offer(one, times, rows(len(times), flow))[0]]


def test_a_window_is_judged_once_it_is_full_and_p_is_its_rank() -> None:
    answers, events = offer(stream(), at(0, 1, 2, 3), rows(4, 0.75))
    assert [row["state"] for row in answers] == ["warming-up", "warming-up", "normal", "normal"]
    # 250 of 1000 reference scores are 0.75 or more, with the row itself 251 of 1001; the second
    # time the first one stands there too, and the buffer is full: one left.
    assert answers[2]["p_value"] == pytest.approx(251 / 1001)
    assert answers[2]["alpha"] == 0.01
    assert answers[0]["time"] == "2023-11-14T22:13:20Z"
    assert events == []


def test_an_alarm_waits_for_its_delay_and_ends_after_its_own() -> None:
    one = stream()
    offer(one, at(*range(10)), rows(10, 0.5))
    answers, events = offer(one, at(*range(10, 16)), rows(6, 2.0))
    assert [row["state"] for row in answers] == ["pending", "pending"] + ["active"] * 4
    assert [(e.change, e.time) for e in events] == [("raised", at(12)[0])]
    assert events[0].reading.contributors == (("flow", 0.75), ("heat", 0.25))
    answers, events = offer(one, at(*range(16, 20)), rows(4, 0.5))
    assert [row["state"] for row in answers] == ["active", "active", "normal", "normal"]
    assert [(e.change, e.time) for e in events] == [("cleared", at(18)[0])]
    assert KEY.alarm_id(events[0].number) == "L1.pump:press:1:1"


def test_nothing_is_learnt_while_an_alarm_is_on_and_a_short_run_counts() -> None:
    one = stream()
    offer(one, at(*range(5)), rows(5, 0.5))
    learnt = one.levels.judge.rows
    offer(one, at(5, 6), rows(2, 2.0))  # held back: perhaps an alarm
    assert one.levels.judge.rows == learnt
    offer(one, at(7), rows(1, 0.5))  # it was none
    assert one.levels.judge.rows == learnt + 3
    alpha = one.levels.judge.judge(0.5, True).alpha
    offer(one, at(*range(8, 100)), rows(92, 3.0))
    assert one.alarm.active
    assert one.levels.judge.rows == learnt + 3
    assert one.levels.judge.judge(0.5, True).alpha == alpha


def test_an_alarm_that_never_ends_learns_again_after_the_longest_freeze() -> None:
    one = stream(longest_freeze_s=30)
    offer(one, at(*range(5)), rows(5, 0.5))
    _, events = offer(one, at(*range(5, 400)), rows(395, 3.0))
    assert [e.change for e in events] == ["raised", "cleared"]


def test_the_deadband_keeps_an_alarm_from_chattering() -> None:
    # p of 0.985 is 16/1001: over the level of 0.01, below it with a deadband of 1.
    between = [2.0, 2.0, 2.0, 0.985, 0.985, 0.985, 0.985]
    for deadband, changes in ((0.0, ["raised", "cleared"]), (1.0, ["raised"])):
        one = stream(deadband=deadband, on_delay_s=0)
        offer(one, at(0, 1, 2), rows(3, 0.5))
        values = np.float32([[flow, 0] for flow in between])
        _, events = offer(one, at(*range(3, 10)), values)
        assert [e.change for e in events] == changes


def test_an_alarm_that_spends_the_budget_lasts_as_long_as_its_fault() -> None:
    """The debt lowers the level of the next alarm; this one's fault is still there."""
    one = stream(events_per_hour=1, saved_events=0, caution=5)
    offer(one, at(*range(5)), rows(5, 0.5))
    _, events = offer(one, at(*range(5, 60)), rows(55, 2.0))
    assert [e.change for e in events] == ["raised"]
    assert one.levels.look(2.0, one.config).alpha < 1e-4  # no row could begin an alarm now
    _, events = offer(one, at(*range(60, 64)), rows(4, 0.5))
    assert [(e.change, e.time) for e in events] == [("cleared", at(62)[0])]


def test_an_alarm_whose_rows_have_stopped_can_be_reset() -> None:
    one = stream()
    offer(one, at(*range(5)), rows(5, 0.5))
    offer(one, at(*range(5, 20)), rows(15, 2.0))
    (still,) = at(19 + SILENT_S)
    with pytest.raises(Conflict, match="still in alarm"):
        one.act(1, "reset", still, "Ada", None, None)
    one.act(1, "shelve", still, "Ada", None, None)
    assert one.act(1, "reset", still + 1, "Ada", "taken down", None).change == "reset"
    assert not one.alarm.active
    assert one.alarm.shelved_until is None  # it was shelved until it ends
    _, events = offer(one, at(*range(20, 30)), rows(10, 2.0))  # it goes on: a new alarm
    assert [(e.number, e.change, e.shelved) for e in events] == [(2, "raised", False)]


def test_a_gap_is_marked_and_no_window_goes_over_it() -> None:
    one = stream()
    offer(one, at(0, 1, 2), rows(3))
    answers, _ = offer(one, at(60, 61, 62), rows(3, 0.5))
    assert answers[0]["gap_s"] == 58.0
    assert [row["state"] for row in answers] == ["warming-up", "warming-up", "normal"]
    assert one.counts.gaps == 1


def test_a_run_does_not_become_an_alarm_across_a_gap() -> None:
    one = stream(on_delay_s=5)
    offer(one, at(0, 1, 2, 3), rows(4, 2.0))
    _, events = offer(one, at(60, 61, 62, 63), rows(4, 2.0))
    assert events == []


def test_the_period_is_told_from_the_first_rows() -> None:
    one = stream(period_s=None)
    times = at(*(2.0 * n for n in range(12)))
    assert states(one, times)[-2:] == ["normal", "normal"]
    assert (one.track.period, one.track.gap) == (2 * SECOND, 10 * SECOND)


def test_a_repeated_row_is_told_the_same_again_and_changes_nothing() -> None:
    one = stream()
    first, _ = offer(one, at(0, 1, 2, 3), rows(4, 0.5))
    before = snapshot(one)
    again, events = offer(one, at(2, 3), rows(2, 0.5))
    assert [{**row, "duplicate": True} for row in first[2:]] == again
    assert (events, one.counts.duplicates) == ([], 2)
    one.counts.duplicates = 0
    assert snapshot(one) == before


def test_another_row_at_the_same_time_is_refused_and_nothing_of_the_request_stays() -> None:
    one = stream()
    offer(one, at(0, 1, 2), rows(3))
    before = snapshot(one)
    with pytest.raises(Conflict, match="row 1 at 2023-11-14T22:13:22Z differs"):
        offer(one, at(3, 2), rows(2, 9.0))
    assert snapshot(one) == before


def test_a_row_that_comes_late_fills_in_its_place_and_one_too_late_is_dropped() -> None:
    one = stream(lateness_s=5, gap_periods=1.5)
    offer(one, at(0, 1, 3), rows(3, 0.5))
    assert states(one, at(2)) == ["filled-in"]
    # Without the row at 2 there would be a gap, and no window yet.
    assert states(one, at(4)) == ["normal"]
    assert states(one, at(-100)) == ["late"]
    assert (one.counts.filled_in, one.counts.late) == (1, 1)
    assert states(one, at(2)) == ["filled-in"]  # a duplicate of it


def test_a_window_with_a_value_missing_is_not_judged() -> None:
    one = stream()
    values = rows(6, 0.5)
    values[3, 1] = np.nan
    answers, _ = offer(one, at(*range(6)), values)
    said = ["warming-up", "warming-up", "normal", "incomplete", "incomplete", "incomplete"]
    assert [row["state"] for row in answers] == said
    assert answers[3]["missing"] == ["heat"]


def test_history_raises_no_live_alarm_and_leaves_none_open() -> None:
    one = stream()
    _, events = offer(one, at(*range(5)), rows(5, 2.0), historical=True)
    assert [(e.change, e.historical) for e in events] == [("raised", True)]
    _, events = offer(one, at(5), rows(1, 0.5))
    assert [(e.change, e.historical) for e in events] == [("cleared", True)]
    assert one.counts.live_alarms == 0


def test_the_warm_up_calibrates_a_stream_whose_model_has_no_scores() -> None:
    alone = Subject(("flow", "heat"), 3)
    one = Stream.begin(KEY, alone, StreamConfig.parse({**QUICK, "warm_up_rows": 5}, "test"))
    answers, _ = offer(one, at(*range(150)), rows(150, 0.5))
    # 1 % takes 99 scores, whatever was asked for; two rows fill the first window.
    assert [row["state"] for row in answers].count("warming-up") == 2 + 99
    assert not one.alarm.active


def test_a_budget_of_events_counts_the_rows_of_the_delay() -> None:
    config = StreamConfig(events_per_hour=1, on_delay_s=5)
    assert config.row_rate(1.0) == pytest.approx(6 / 3600)
    assert StreamConfig(rate=0.02).row_rate(1.0) == 0.02
    assert StreamConfig(rate=0.02).events is None
    assert StreamConfig(rate=0.02, events_per_hour=3).events == 3
    with pytest.raises(InvalidParameter, match="on_delay"):
        StreamConfig.parse({"on_delay": 3}, "test")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 3, width=32), min_size=20, max_size=60), st.integers(1, 19))
def test_a_stream_that_was_saved_anywhere_goes_on_as_if_nothing_had_happened(
    flows: list[float], cut: int
) -> None:
    values = np.float32([[flow, flow / 2] for flow in flows])
    times = at(*range(len(flows)))
    whole, halves = stream(warm_up_rows=7), stream(warm_up_rows=7)
    offer(whole, times[:cut], values[:cut])
    said = offer(whole, times[cut:], values[cut:])
    offer(halves, times[:cut], values[:cut])
    saved = snapshot(halves)
    assert key_of(saved) == KEY
    moved = restore(saved, SUBJECT)
    assert snapshot(moved) == saved
    assert offer(moved, times[cut:], values[cut:]) == said
    assert snapshot(moved) == snapshot(whole)


def test_rows_one_by_one_or_together_give_the_same_bits() -> None:
    values = np.random.default_rng(1).random((200, 2)).astype(np.float32) * 1.1
    times = at(*range(200))
    together, single = stream(), stream()
    said = offer(together, times, values)
    parts = [offer(single, times[n : n + 1], values[n : n + 1]) for n in range(200)]
    assert said == ([a for part in parts for a in part[0]], [e for part in parts for e in part[1]])
    assert snapshot(together) == snapshot(single)


def test_a_damaged_or_foreign_snapshot_is_refused() -> None:
    saved = snapshot(stream())
    for at_ in range(0, len(saved), 7):
        damaged = saved[:at_] + bytes([saved[at_] ^ 1]) + saved[at_ + 1 :]
        with pytest.raises(CorruptStream, match="damaged"):
            restore(damaged, SUBJECT)
    with pytest.raises(CorruptStream, match="Move it to the very model version"):
        restore(saved, Subject(("flow", "cold"), 3))


def test_a_budget_of_events_holds_whatever_the_process_does() -> None:
    """Scores that climb for ever: without the purse an alarm would follow the other."""
    hours, saved, caution = 5, 1.0, 5.0
    one = Stream.begin(
        KEY, Subject(("flow", "heat"), 1, reference=REFERENCE),
        StreamConfig(
            events_per_hour=1, rate=0.02, period_s=1, warm_up_rows=0, on_delay_s=0, off_delay_s=0,
            longest_freeze_s=1, saved_events=saved, caution=caution,
        ),
    )  # fmt: skip
    n = hours * 3600
    climbing = np.arange(n) / 1000 + np.random.default_rng(0).random(n)
    values = np.stack([climbing, climbing], axis=1).astype(np.float32)
    _, events = offer(one, at(*range(n)), values)
    raised = [event for event in events if event.change == "raised"]
    # As levels.py has it; the level is at most twice the rate.
    most = 1 * hours + saved + 1 + np.log(2 * 0.02 * 1001) / caution
    assert 2 <= len(raised) <= most
    assert one.levels.purse.debt > -saved


@pytest.mark.parametrize("usual", [1.0, -3.0])  # a mean of logarithms may well be below 0
def test_a_stream_that_follows_judges_what_lies_above_its_own_mean(usual: float) -> None:
    one = stream(follow_s=30, warm_up_rows=200, rate=0.02)
    noise = usual + 0.5 * np.random.default_rng(0).random(400)
    drifting = np.stack([noise + np.linspace(0, 4, 400), noise], axis=1).astype(np.float32)
    answers, events = offer(one, at(*range(400)), drifting)
    assert events == []
    assert -0.5 < answers[-1]["score"] < 1
    jump = np.float32([[15, 1]] * 5)
    _, events = offer(one, at(*range(400, 405)), jump)
    assert [event.change for event in events] == ["raised"]
    assert one.levels.base < 6  # frozen: a fault is not followed


@pytest.mark.parametrize("name", sorted(StreamConfig.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    page = (REPOSITORY / "service/anomaly/streams.md").read_text()
    row = re.search(rf"^\| `{name}` \| ([^|]*)\|", page, re.MULTILINE)
    assert row, f"{name} is in no table of streams.md"
    default = StreamConfig.model_fields[name].default
    if isinstance(default, float):
        assert float(row[1].strip()) == default
