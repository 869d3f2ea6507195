"""The bridge before a real server: rows become verdicts, alarms come back, kills change nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.connectors.broker import Broker, needs_mosquitto
from tests.connectors.plant import Feeder, Program, Watcher, bridge_program, wait_for
from tests.running_server import Server, start_server
from tests.small_detector import release_detector

pytestmark = [needs_mosquitto, pytest.mark.slow]
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
JSON = {"accept": "application/json"}
QUICK = {"rate": 0.02, "warm_up_rows": 0, "on_delay_s": 2, "off_delay_s": 2, "period_s": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    release_detector(home, "windows")
    running = start_server(home, home / "log")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def ends(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Broker, Program, Watcher]]:
    folder = tmp_path_factory.mktemp("ends")
    broker = Broker(folder / "broker")
    broker.start()
    bridge = bridge_program(
        folder, broker.port, int(server.url.rpartition(":")[2]), model="windows"
    )
    bridge.start()
    watcher = Watcher(broker.port)
    wait_for(lambda: any(said["state"] == "online" for said in watcher.of("/status")))
    yield broker, bridge, watcher
    watcher.close()
    bridge.kill()
    broker.kill()


def _row(second: int, level: float = 0.0) -> dict[str, Any]:
    noise = np.random.default_rng(second).normal(size=2) * 0.5
    swing = level * (1 if second % 2 else -1)
    moment = (NOW + timedelta(seconds=second)).isoformat()
    return {"time": moment, "pressure": float(noise[0]) + swing, "heat": float(noise[1])}


def _levels(count: int) -> list[dict[str, Any]]:
    """Rows with a fault of ten seconds in each hundred, after the first sixty."""
    return [_row(s, 9.0 if s >= 60 and s % 100 in range(60, 70) else 0.0) for s in range(count)]


def test_killed_under_load_the_alarm_log_is_that_of_rows_sent_in_one_go(
    server: Server, ends: tuple[Broker, Program, Watcher]
) -> None:
    broker, bridge, watcher = ends
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
        for name in ("L1.calm", "L1.killed"):
            made = http.put(f"/v2/models/windows/streams/{name}", json=QUICK)
            assert made.status_code == 200, made.text
        rows = _levels(400)
        for at in range(0, 400, 50):
            sent = http.post("/v2/models/windows/streams/L1.calm", json=rows[at : at + 50])
            assert sent.status_code == 200, sent.text

        def told(place: int) -> None:
            if place in (90, 190, 290):
                bridge.kill()
                bridge.start()
            elif place == 240:
                broker.kill()
                broker.start()

        Feeder(broker.port).feed([("plant/L1/killed/rows", row) for row in rows], told)
        wait_for(lambda: len(watcher.distinct("L1.killed/verdicts")) == 400, 60)
        logs = [
            [
                {k: v for k, v in one.items() if k not in ("id", "alarm", "stream")}
                for one in http.get("/v2/alarms?limit=1000", headers=JSON).json()["events"]
                if one.get("stream") == name
            ]
            for name in ("L1.calm", "L1.killed")
        ]
        assert logs[0] == logs[1]
        assert len(logs[0]) == 8  # four faults, raised and cleared
        wait_for(lambda: len(watcher.distinct("L1.killed/alarms")) == 8)
        alarm = watcher.of("L1.killed/alarms")[0]["alarm"]
        watcher.publish("plant/feedback", {"alarm": alarm, "verdict": "false", "by": "Ada"})
        wait_for(lambda: http.get(f"/v2/alarms/{alarm}").json()["judged"] == "false")


def test_a_year_old_row_is_a_dead_letter_and_history_alarms_nobody(
    server: Server, ends: tuple[Broker, Program, Watcher]
) -> None:
    _, _, watcher = ends
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
        http.put("/v2/models/windows/streams/L2.past", json=QUICK)
    old = {**_row(0), "time": "2020-01-01T00:00:00Z"}
    watcher.publish("plant/L2/old/rows", old)
    wait_for(
        lambda: [one for one in watcher.of("/dead-letter") if "is_historical" in one["reason"]]
    )
    for row in _levels(200):
        watcher.publish("plant/L2/past/rows", {"rows": [row], "is_historical": True})
    wait_for(lambda: len(watcher.distinct("L2.past/verdicts")) == 200)
    states = {one["state"] for one in watcher.distinct("L2.past/verdicts").values()}
    assert "active" in states
    assert watcher.of("L2.past/alarms") == []


def test_an_unknown_sensor_and_a_wrong_unit_are_dead_letters(
    ends: tuple[Broker, Program, Watcher],
) -> None:
    _, _, watcher = ends
    watcher.publish("plant/L3/odd/rows", {**_row(0), "colour": 1})
    watcher.publish("plant/L3/unit/rows", {**_row(0), "heat": "warm"})
    for topic in ("plant/L3/odd/rows", "plant/L3/unit/rows"):
        wait_for(lambda t=topic: [x for x in watcher.of("/dead-letter") if x["topic"] == t])


def test_the_check_says_which_sensors_the_model_does_not_have(
    ends: tuple[Broker, Program, Watcher],
) -> None:
    _, bridge, _ = ends
    file = Path(bridge.command[-1])

    def checked() -> str:
        command = [*bridge.command[:-1], str(file.with_name("sensors.toml")), "--check"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return run.stdout

    text = file.read_text()
    file.with_name("sensors.toml").write_text(text)
    assert "flow: no such sensor; there are pressure, heat" in checked()
    file.with_name("sensors.toml").write_text(text.replace('"flow"', '"pressure"'))
    assert "ok model windows" in checked()
