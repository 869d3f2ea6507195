"""A real Prometheus scrapes real servers and a bridge; board and rules find what they ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from tests.connectors.broker import MOSQUITTO, Broker
from tests.connectors.plant import Watcher, bridge_program
from tests.connectors.plant import wait_for as mqtt_wait_for
from tests.deploy.test_monitoring import ALERTS, ON_BOARD, PROMETHEUS, RECORDED, filled
from tests.running_server import Server, free_port, start_server
from tests.small_detector import release_detector

#: Panels that are empty as long as nothing fails, and no model is slow enough for a queue.
QUIET = {
    "Rows, by outcome/B",
    "Server errors by route and status/A",
    "Stages, p50/B",
    "Stages, p95/B",
    "Stages, p99/B",
    "Tries that failed, by peer/A",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int, Watcher]]:
    """A server of two detectors, one of them too late for its deadline; a bridge's port; MQTT."""
    if MOSQUITTO is None:
        pytest.skip("NO MOSQUITTO: nothing of the bridge was scraped.")
    folder = tmp_path_factory.mktemp("plant")
    for name in ("windows", "hurried"):
        release_detector(folder, name)
    late = '{"hurried": {"ms": 0.01, "fail_safe": "anomaly"}}'
    lines = start_server(folder, folder / "server.log", GLASSLINE_DEADLINES=late)
    broker, port = Broker(folder / "broker"), free_port()
    broker.start()
    extra = f"[metrics]\nport = {port}\n"
    bridge = bridge_program(
        folder, broker.port, int(lines.url.rpartition(":")[2]), model="windows", broker_extra=extra
    )
    bridge.start()
    watcher = Watcher(broker.port)
    try:
        mqtt_wait_for(lambda: any(said["state"] == "online" for said in watcher.of("/status")))
        yield lines, port, watcher
    finally:
        watcher.close()
        bridge.kill()
        broker.kill()
        lines.stop()


@pytest.fixture(scope="module")
def prometheus(
    server: Server,
    plant: tuple[Server, int, Watcher],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """Prometheus on our configuration, in a hurry, with the test servers as its targets."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("NO PROMETHEUS: nothing was scraped. Install Debian's package `prometheus`.")
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(PROMETHEUS / "rules.yml", folder)
    servers = [one.url.removeprefix("http://") for one in (server, plant[0])]
    target = {"targets": servers, "labels": {"device": "cpu"}}
    bridge = {"targets": [f"127.0.0.1:{plant[1]}"]}
    for name, said in (("targets/server.yml", target), ("bridges/bridge.yml", bridge)):
        (folder / name).parent.mkdir()
        (folder / name).write_text(yaml.safe_dump([said]))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        try:
            wait_until_it_starts(client, folder / "log")
            yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def query(prometheus: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers; an expression that it cannot evaluate fails the test."""
    answer = prometheus.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


def wait_for(prometheus: httpx.Client, expression: str, seconds: float = 60) -> None:
    """Until an expression has a result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if query(prometheus, expression):
            return
        time.sleep(0.5)
    pytest.fail(f"no result within {seconds} s: {expression}")


def wait_until_it_starts(client: httpx.Client, log: Path) -> None:
    """Until Prometheus says that it is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.get("/-/ready").status_code == 200:
                return
        except httpx.HTTPError:
            pass  # it does not listen yet
        time.sleep(0.2)
    pytest.fail(f"Prometheus did not start:\n{log.read_text()[-2000:]}")


def ask(server: Server, digit_png: bytes) -> None:
    """One prediction, one explanation, one refusal."""
    for action, body in (("infer", digit_png), ("explain", digit_png), ("infer", b"no picture")):
        httpx.post(
            f"{server.url}/v2/models/lenet-digits/{action}",
            content=body,
            headers={"content-type": "image/png"},
            timeout=60,
            trust_env=False,
        )


def run_line(plant: tuple[Server, int, Watcher], part: int) -> None:
    """Some rows by HTTP, with an alarm that is called true, and by MQTT, and one too late."""
    lines, _, watcher = plant
    quick = {
        "rate": 0.02, "warm_up_rows": 0, "on_delay_s": 2, "off_delay_s": 2, "period_s": 1,
        "drift_rows": 5,
    }  # fmt: skip
    start = datetime.now(UTC) - timedelta(hours=2) + timedelta(minutes=10 * part)

    def row(second: int, level: float) -> dict[str, Any]:
        noise = np.random.default_rng(600 * part + second).normal(size=2) / 2
        swing = level * (1 if second % 2 else -1)
        time = (start + timedelta(seconds=second)).isoformat()
        heat = float(noise[1]) + (5 if part >= 2 else 0)
        return {"time": time, "pressure": float(noise[0]) + swing, "heat": heat}

    rows = [row(second, 9.0 if 200 <= second < 210 else 0.0) for second in range(250)]
    with httpx.Client(base_url=lines.url, timeout=60, trust_env=False) as http:
        path = "/v2/models/windows/streams/L1.press"
        http.put(path, json=quick)
        said = http.post(path, json=rows).json()
        for event in said["alarms"]:
            if event["change"] == "raised":
                judged = f"/v2/alarms/{event['alarm']}/feedback"
                assert http.post(judged, json={"verdict": "true", "by": "Ada"}).is_success
        http.post("/v2/models/hurried/streams/L1.press", json=rows[:1])
        if part == 3:  # a shelved alarm asks for no explanation
            alarm = http.get("/v2/alarms").json()["alarms"][0]["alarm"]
            http.post(f"/v2/alarms/{alarm}/shelve", json={"by": "Ada", "minutes": 100})
    for second, one in enumerate(rows[:20]):
        watcher.publish("plant/L2/press/rows", one if second else {"time": "never"})


@pytest.fixture(scope="module")
def watched(
    server: Server,
    plant: tuple[Server, int, Watcher],
    prometheus: httpx.Client,
    digit_png: bytes,
) -> httpx.Client:
    """Prometheus after it has seen the servers answer several times."""
    wait_for(prometheus, 'count(up{job="glassline"} == 1) == 2')
    wait_for(prometheus, 'up{job="glassline-bridge"} == 1')
    for part in range(5):
        ask(server, digit_png)
        run_line(plant, part)
        time.sleep(1.2)
    wait_for(prometheus, "sum(glassline_bridge_published_total) > 50")
    wait_for(prometheus, "sum(increase(glassline_alarms_unexplained_total[1h])) >= 0")
    wait_for(prometheus, 'rate(request_explain_seconds_count{model="lenet-digits"}[1m]) > 0')
    wait_for(prometheus, "glassline:explanation_r2:p50 > 0")
    return prometheus


@pytest.mark.parametrize("panel", sorted(set(ON_BOARD) - QUIET))
def test_a_panel_shows_something(watched: httpx.Client, panel: str) -> None:
    found = query(watched, filled(ON_BOARD[panel]))
    assert found
    values = [float(row["value"][1]) for row in found]
    assert any(value == value for value in values), f"nothing but NaN: {found}"


@pytest.mark.parametrize("panel", sorted(QUIET))
def test_a_quiet_panel_can_be_evaluated(watched: httpx.Client, panel: str) -> None:
    query(watched, filled(ON_BOARD[panel]))


@pytest.mark.parametrize("record", sorted(RECORDED))
def test_a_recorded_series_is_there(watched: httpx.Client, record: str) -> None:
    assert query(watched, record)


def test_no_alert_fires_on_a_healthy_server(watched: httpx.Client) -> None:
    rules = watched.get("/api/v1/rules").json()["data"]["groups"]
    states = {r["name"]: r["state"] for g in rules for r in g["rules"] if r["type"] == "alerting"}
    assert set(states) == set(ALERTS)
    assert [name for name, state in states.items() if state == "firing"] == []
    health = {r["name"]: r["health"] for g in rules for r in g["rules"]}
    assert set(health.values()) == {"ok"}


def test_the_labels_our_rules_select_are_labels_the_server_sends(watched: httpx.Client) -> None:
    known = set(watched.get("/api/v1/labels").json()["data"])
    asked = "\n".join(
        [*ON_BOARD.values(), *RECORDED.values(), *(r["expr"] for r in ALERTS.values())]
    )
    selected = {
        label
        for braces in re.findall(r"\{([^}]*)\}", asked)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", braces)
    }
    grouped = {
        label.strip()
        for names in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", asked)
        for label in names.split(",")
    }
    assert selected | grouped <= known
