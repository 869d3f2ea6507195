"""`glassline bridge mqtt` between a real Mosquitto and a server, killed and restarted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.connectors.broker import needs_mosquitto
from tests.connectors.plant import Feeder, Plant, killing, row, running, wait_for

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with running(tmp_path_factory.mktemp("plant")) as one:
        yield one


def test_rows_become_verdicts_and_an_alarm(plant: Plant) -> None:
    for second, value in enumerate([1.0, 2.0, 150.0, 3.0]):
        plant.watcher.publish("plant/line7/press/rows", row(second, value))
    wait_for(lambda: len(plant.watcher.distinct("line7.press/verdicts")) == 4)
    verdicts = plant.watcher.distinct("line7.press/verdicts")
    assert verdicts["verdict/skab/1/line7.press/2026-11-26T12:00:02Z"] == {
        "id": "verdict/skab/1/line7.press/2026-11-26T12:00:02Z",
        "model_name": "skab", "model_version": "1", "stream": "line7.press",
        "time": "2026-11-26T12:00:02Z", "score": 150.0, "verdict": "anomaly",
    }  # fmt: skip
    wait_for(lambda: len(plant.watcher.distinct("line7.press/alarms")) == 2)
    changes = [said["change"] for said in plant.watcher.of("line7.press/alarms")]
    assert changes == ["raised", "cleared"]


def test_many_rows_a_message_more_than_one_request_takes(plant: Plant) -> None:
    plant.watcher.publish("plant/line7/many/rows", [row(s) for s in range(50)])
    plant.watcher.publish("plant/line7/many/rows", {"rows": [row(s) for s in range(50, 120)]})
    wait_for(lambda: len(plant.watcher.distinct("line7.many/verdicts")) == 120)


def test_the_same_row_again_is_published_once(plant: Plant) -> None:
    for second in (0, 1, 1, 0, 2):
        plant.watcher.publish("plant/line7/again/rows", row(second))
    wait_for(lambda: len(plant.watcher.distinct("line7.again/verdicts")) == 3)
    assert len(plant.watcher.of("line7.again/verdicts")) == 3


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("plant/bad/a/rows", b"{", "payload: no JSON"),
        ("plant/bad/b/rows", b"[]", "payload: no row in it"),
        ("plant/bad/c/rows", b'{"flow": 1}', "payload: row 0: no 'time'"),
        ("plant/bad/d/rows", b'{"time": 5, "flow": 1}', "wanted RFC 3339 text"),
        ("plant/bad/e/rows", b"\xff\xfe", "payload: no JSON"),
        ("plant/bad/f/rows", b'{"time": "x"}', "a time and no value"),
        ("plant/bad/g/rows", b'{"rows": [], "more": 1}', "beside 'rows' stands 'more'"),
        ("plant/bad/h/rows", b"[" + b"1," * 3000 + b"1]", "6003 bytes, at most 4096 are taken"),
        ("plant/bad line/a/rows", b'{"time": "x", "flow": 1}', "{line} is 'bad line'"),
        ("other/nothing/a", b'{"time": "x", "flow": 1}', "no model 'nothing' (status 404)"),
        ("plant/bad/i/rows", b'{"time": "x", "flow": "wet"}', "row: wanted numbers (status 400)"),
        ("plant/feedback", b'{"verdict": "false"}', "feedback: no 'alarm' in it"),
    ],
)
def test_what_cannot_become_a_row_is_a_dead_letter_with_its_reason(
    plant: Plant, topic: str, payload: bytes, reason: str
) -> None:
    plant.watcher.publish(topic, payload)

    def found() -> list[dict[str, object]]:
        letters = plant.watcher.of("/dead-letter")
        return [one for one in letters if one["topic"] == topic and reason in one["reason"]]

    wait_for(found)
    assert found()[0]["payload_bytes"] == len(payload)


def test_one_bad_message_takes_no_good_one_with_it(plant: Plant) -> None:
    plant.server.kill()  # so that they wait together and go as one request
    for second, value in enumerate([1.0, "wet", 2.0]):
        plant.watcher.publish("plant/mixed/a/rows", {**row(second), "flow": value})
    plant.server.start()
    wait_for(lambda: len(plant.watcher.distinct("mixed.a/verdicts")) == 2)
    bad = [one for one in plant.watcher.of("/dead-letter") if one["topic"] == "plant/mixed/a/rows"]
    assert len(bad) == 1


def test_killed_at_any_moment_nothing_is_lost_and_nothing_said_twice_differently(
    plant: Plant,
) -> None:
    """Bridge, server and broker in turn, while rows come."""
    sent = 300
    victims = [plant.bridge, plant.broker, plant.server, plant.bridge, plant.broker]
    messages = [
        ("plant/line8/kill/rows", row(second, 150.0 if second % 20 in (5, 6, 7) else 1.0))
        for second in range(sent)
    ]

    Feeder(plant.broker.port).feed(messages, killing(victims, 60))
    wait_for(lambda: len(plant.watcher.distinct("line8.kill/verdicts")) == sent, 60)
    wait_for(lambda: len(plant.watcher.distinct("line8.kill/alarms")) == 2 * sent // 20, 30)
    assert {one["verdict"] for one in plant.watcher.distinct("line8.kill/verdicts").values()} == {
        "normal",
        "anomaly",
    }


def test_the_retained_status_says_lost_after_a_kill_and_stopped_after_a_stop(plant: Plant) -> None:
    def last() -> str:
        return str(plant.watcher.of("/status")[-1]["state"])

    wait_for(lambda: last() == "online")
    plant.bridge.kill()
    wait_for(lambda: last() == "lost")
    plant.bridge.start()
    wait_for(lambda: last() == "online")
    assert plant.bridge.stop() == 0
    wait_for(lambda: last() == "stopped")
    plant.bridge.start()
    wait_for(lambda: last() == "online")


def test_a_second_bridge_on_the_same_inbox_is_refused(plant: Plant) -> None:
    second = subprocess.run(
        plant.bridge.command, capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert "another bridge works with it" in second.stderr
