"""Which false alarms may teach a calibration, rule by rule."""

from __future__ import annotations

import json

import numpy as np

from service.anomaly.feedback import REMEMBERED, SHARE, TAUGHT, Feedback
from service.anomaly.snapshots import restore, snapshot
from service.anomaly.stream import Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND


def _noted(count: int = 5, number: int = 1) -> Feedback:
    one = Feedback()
    for at in range(count):
        one.note(number, 10.0 + at)
    return one


def test_nothing_enters_unless_somebody_called_the_alarm_false() -> None:
    one = _noted()
    assert one.due(100, 1000) == []
    assert one.say(1, "true") == "nothing is learnt"
    assert one.due(100, 1000) == []


def test_at_most_a_share_of_the_buffer_enters_and_the_rest_when_that_has_aged() -> None:
    one = _noted(TAUGHT + 30)
    one.say(1, "false")
    first = one.due(100, 100)
    assert first == [10.0 + at for at in range(int(SHARE * 100))]
    assert one.due(150, 100) == []
    assert one.due(200, 100) == [20.0 + at for at in range(10)]
    later = [score for rows in range(300, 2000, 100) for score in one.due(rows, 100)]
    assert 20 + len(later) == TAUGHT  # what came after its first rows taught nothing


def test_the_last_word_counts() -> None:
    one = _noted()
    one.say(1, "false")
    assert one.say(1, "true") == "5 scores that waited are taken back"
    assert one.due(100, 1000) == []
    assert (one.said, one.precision) == ({"true": 1, "false": 0}, 1.0)
    two = _noted()
    two.say(1, "false")
    assert len(two.due(100, 1000)) == 5
    assert "until they age out" in two.say(1, "true")
    assert "nothing more" in [two.say(1, "false"), two.say(1, "false")][1]


def test_only_the_last_alarms_are_remembered_and_all_of_it_is_json() -> None:
    one = Feedback()
    for number in range(1, REMEMBERED + 3):
        one.note(number, float(number))
    assert "not known any more" in one.say(2, "false")
    one.say(3, "false")
    one.say(4, "true")
    assert one.precision == 1 / 3
    again = Feedback.of_json(json.loads(json.dumps(one.to_json())))
    assert again == one


def test_a_stream_learns_from_a_false_alarm_once_it_is_over_and_alarms_less() -> None:
    """The same excursion again: after enough of it was called false it is no alarm."""
    reference = np.round(np.arange(1000) / 1000, 3)
    config = {"period_s": 1.0, "warm_up_rows": 0, "rate": 0.01, "on_delay_s": 2, "off_delay_s": 2}
    one = Stream.begin(
        StreamKey("press", "1", "L1.pump"), Subject(("flow",), 1, reference=reference),
        StreamConfig.parse(config, "test"),
    )  # fmt: skip
    clock = 0

    def offer(level: float, count: int) -> list[str]:
        nonlocal clock
        times = [(1_700_000_000 + clock + at) * SECOND for at in range(count)]
        clock += count
        staged = one.stage(times, np.full((count, 1), level, np.float32))
        scores = np.array([window[-1, 0] for window in staged.windows], np.float32)
        return [event.change for event in one.conclude(staged, scores, None)[1]]

    offer(0.5, 50)
    assert offer(2.0, 20) == ["raised"]
    assert one.levels.judge is not None
    before = one.levels.judge.judge(2.0, True).p_value
    event, follows = one.say(1, "false", clock * SECOND, "Ada", None)
    assert (event.change, event.by) == ("judged-false", "Ada")
    assert "18 of its scores enter" in follows["calibration"]
    assert one.levels.judge.judge(2.0, True).p_value == before  # not while the alarm is on
    assert offer(0.5, 10) == ["cleared"]
    assert one.levels.judge.judge(2.0, True).p_value > before
    assert snapshot(restore(snapshot(one), one.subject)) == snapshot(one)
    assert offer(2.0, 20) == []
