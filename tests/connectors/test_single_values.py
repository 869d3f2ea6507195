"""One sensor a topic, through a real Mosquitto: rows are whole, each once, whoever is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tests.connectors.broker import needs_mosquitto
from tests.connectors.plant import Feeder, Plant, killing, running, wait_for

pytestmark = needs_mosquitto
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with running(tmp_path_factory.mktemp("plant")) as one:
        yield one


def said(second: float, value: float | None) -> dict[str, Any]:
    return {"value": value, "time": (START + timedelta(seconds=second)).isoformat(), "unit": "bar"}


def taken(plant: Plant, stream: str) -> list[dict[str, Any]]:
    """Rows that the server took in, with their seconds."""
    lines = [json.loads(line) for line in (plant.folder / "rows").read_text().splitlines()]
    return [
        {**row, "time": (datetime.fromisoformat(row["time"]) - START).total_seconds()}
        for _, name, row in lines
        if name == stream
    ]


def dead(plant: Plant, topic: str) -> str:
    """Reasons of the dead letters of a topic."""
    letters = plant.watcher.distinct("/dead-letter").values()
    return "\n".join(one["reason"] for one in letters if one["topic"] == topic)


def test_values_of_one_time_are_one_row(plant: Plant) -> None:
    for second in range(3):
        plant.watcher.publish("cell/line1/pump/heat", said(second, 40.0 + second))
        plant.watcher.publish("cell/line1/pump/flow", said(second, float(second)))
    wait_for(lambda: len(plant.watcher.distinct("line1.pump/verdicts")) == 3)
    assert taken(plant, "line1.pump") == [
        {"time": second, "flow": second, "heat": 40 + second} for second in range(3)
    ]


def test_a_sensor_that_says_nothing_holds_no_row_up_for_long(plant: Plant) -> None:
    for second in range(6):
        plant.watcher.publish("cell/line2/pump/flow", said(second, float(second)))
    wait_for(lambda: len(plant.watcher.distinct("line2.pump/verdicts")) == 3)
    assert taken(plant, "line2.pump") == [{"time": second, "flow": second} for second in range(3)]


def test_bare_numbers_are_rows_of_last_values_each_made_once_over_a_kill(plant: Plant) -> None:
    """One speaks once, the other all the time; a row is made every second."""
    plant.watcher.publish("held/line3/pump/heat", 40)
    numbers, killed = count(), False

    def more() -> bool:
        nonlocal killed
        plant.watcher.publish("held/line3/pump/flow", next(numbers))
        verdicts = len(plant.watcher.distinct("line3.pump/verdicts"))
        if verdicts >= 2 and not killed:
            killed = True
            plant.bridge.kill()
            plant.bridge.start()
        return verdicts >= 5

    wait_for(more, 60)
    rows = taken(plant, "line3.pump")
    times = [row["time"] for row in rows]
    assert times == sorted(set(times))
    assert all(time % 1 == 0 for time in times)
    assert all(0 <= row["flow"] < next(numbers) for row in rows if "flow" in row)
    assert {row.get("heat") for row in rows} == {40, None}  # held for 3 seconds
    assert dead(plant, "held/line3/pump/+") == ""


def test_what_leads_nowhere_is_a_dead_letter(plant: Plant) -> None:
    plant.watcher.publish("cell/line4/pump/colour", said(0, 1.0))
    plant.watcher.publish("cell/line4/pump/flow", b"3.2")
    plant.watcher.publish("cell/line4/pump/heat", said(0, 40.0))
    plant.watcher.publish("cell/line4/pump/heat", said(0, 41.0))
    wait_for(lambda: "is none of flow, heat" in dead(plant, "cell/line4/pump/colour"))
    wait_for(lambda: "no 'time'" in dead(plant, "cell/line4/pump/flow"))
    wait_for(lambda: "another value at this time" in dead(plant, "cell/line4/pump/heat"))


def test_a_row_that_the_server_refuses_names_the_topics_of_its_sensors(plant: Plant) -> None:
    """Another row stands at its time already, which came whole."""
    moment = f"{START:%Y-%m-%dT%H:%M:%SZ}"
    plant.watcher.publish("plant/line5/pump/rows", {"time": moment, "flow": 1.0})
    wait_for(lambda: plant.watcher.of("line5.pump/verdicts"))
    for sensor in ("flow", "heat"):
        plant.watcher.publish(f"cell/line5/pump/{sensor}", said(0, 5.0))
    wait_for(lambda: "differs" in dead(plant, "cell/line5/pump/+"))


def test_killed_at_any_moment_every_row_is_made_once_of_all_its_values(plant: Plant) -> None:
    """Bridge, server and broker in turn, while values come, the two sensors not in step."""
    seconds = 200
    victims = [plant.bridge, plant.broker, plant.server, plant.bridge, plant.broker, plant.bridge]
    messages = []
    for second in range(seconds + 1):
        if second < seconds:
            messages.append(("cell/line8/pump/flow", said(second, float(second))))
        if second:
            messages.append(("cell/line8/pump/heat", said(second - 1, 150.0 + second)))

    Feeder(plant.broker.port).feed(messages, killing(victims, 60))
    wait_for(lambda: len(plant.watcher.distinct("line8.pump/verdicts")) == seconds, 60)
    assert not victims
    assert taken(plant, "line8.pump") == [
        {"time": second, "flow": second, "heat": 151 + second} for second in range(seconds)
    ]
    assert dead(plant, "cell/line8/pump/+") == dead(plant, "cell/line8/pump/flow") == ""
