"""The alarm machine, state by state, and floods by the numbers of ISA-18.2."""

from __future__ import annotations

import pytest

from service.anomaly.alarms import REMEMBERED, Alarm, Reading
from service.anomaly.floods import FloodWatch
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import SECOND
from service.errors import Conflict, UnknownAlarm

READING = Reading(1.0, 0.001, 0.01)


def config(**settings: object) -> StreamConfig:
    return StreamConfig.parse({"on_delay_s": 0, "off_delay_s": 0, **settings}, "test")


def run(alarm: Alarm, settings: StreamConfig, first: int, exceeding: str) -> list[tuple[str, int]]:
    """One row a second, `x` exceeds; what changed, and at which second."""
    events = []
    for second, one in enumerate(exceeding, first):
        events += alarm.step(settings, second * SECOND, one == "x", READING, False)
    return [(event.change, event.time // SECOND) for event in events]


def act(alarm: Alarm, what: str, at: int = 0, until: int | None = None):
    return alarm.act(alarm.number, what, at * SECOND, "Ada", None, until)


@pytest.mark.parametrize(
    ("delays", "rows", "changes"),  # by hand
    [
        ((0, 0), "-x-", [("raised", 1), ("cleared", 2)]),
        ((2, 0), "xx-xxx-", [("raised", 5), ("cleared", 6)]),
        ((0, 2), "x-x--x---", [("raised", 0), ("cleared", 8)]),
        ((3, 1), "xxxx-", [("raised", 3)]),
    ],
)
def test_delays(delays: tuple[int, int], rows: str, changes: list[tuple[str, int]]) -> None:
    settings = config(on_delay_s=delays[0], off_delay_s=delays[1])
    assert run(Alarm(), settings, 0, rows) == changes


def test_an_alarm_that_lasts_is_announced_again_and_asks_to_be_acknowledged_again() -> None:
    alarm, settings = Alarm(), config(re_alarm_s=3)
    assert run(alarm, settings, 0, "x") == [("raised", 0)]
    act(alarm, "acknowledge")
    assert run(alarm, settings, 1, "xxxxxx") == [("re-alarmed", 3), ("re-alarmed", 6)]
    assert not alarm.standings[1].acknowledged


def test_a_latched_alarm_stays_until_it_is_reset_and_only_once_the_process_is_quiet() -> None:
    alarm, settings = Alarm(), config(latch=True)
    run(alarm, settings, 0, "x")
    with pytest.raises(Conflict, match="still in alarm"):
        act(alarm, "reset")
    assert run(alarm, settings, 1, "--xx--") == []  # the same alarm, whatever comes
    assert alarm.active
    assert act(alarm, "reset", 9).change == "reset"
    assert not alarm.active
    assert run(alarm, settings, 10, "x") == [("raised", 10)]
    assert alarm.number == 2


def test_shelving_ends_with_its_time_or_with_the_alarm() -> None:
    alarm, settings = Alarm(), config()
    run(alarm, settings, 0, "x")
    act(alarm, "shelve", 1, until=5 * SECOND)
    assert run(alarm, settings, 2, "-x") == [("cleared", 2), ("raised", 3)]
    assert alarm.step(settings, 4 * SECOND, False, READING, False)[0].shelved
    assert run(alarm, settings, 5, "-") == [("unshelved", 5)]
    run(alarm, settings, 6, "x")
    act(alarm, "shelve", 7)
    assert run(alarm, settings, 8, "-x") == [("cleared", 8), ("unshelved", 8), ("raised", 9)]
    with pytest.raises(Conflict, match="not shelved"):
        act(alarm, "unshelve")


def test_what_an_operator_may_do_hangs_on_what_was_done() -> None:
    alarm = Alarm()
    with pytest.raises(UnknownAlarm):
        act(alarm, "acknowledge")
    run(alarm, config(), 0, "x-")
    with pytest.raises(Conflict, match="acknowledge it first"):
        act(alarm, "confirm")
    act(alarm, "acknowledge")
    with pytest.raises(Conflict, match="already"):
        act(alarm, "acknowledge")
    act(alarm, "confirm")
    run(alarm, config(), 2, "x-" * REMEMBERED)
    with pytest.raises(UnknownAlarm, match="long over"):
        alarm.act(1, "acknowledge", 0, "Ada", None, None)
    with pytest.raises(Conflict, match="only the stream's last"):
        alarm.act(alarm.number - 1, "shelve", 0, "Ada", None, None)
    assert Alarm.of_json(alarm.to_json()) == alarm


def test_a_flood_is_more_than_ten_in_ten_minutes_and_over_below_five() -> None:
    watch = FloodWatch()
    said = [watch.note(minute * 30 * SECOND) for minute in range(12)]  # two a minute
    assert said == [None] * 10 + [True, None]
    assert watch.flooded
    # Ten minutes after the eighth of the twelve four are left.
    assert watch.look((7 * 30 + 600) * SECOND - 1) is None
    assert watch.look((7 * 30 + 600) * SECOND) is False
    assert not watch.flooded
    assert FloodWatch(tuple(range(11)), True).flooded
