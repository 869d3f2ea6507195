"""Streams on a real server: rows in three forms, alarms and their records, restarts, bad input."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.running_server import Server, free_port, glassline, glassline_process, start_server
from tests.small_detector import SENSORS, STEPS, release_detector

BASE = "/v2/models/windows/streams"
QUICK = {"rate": 0.02, "warm_up_rows": 0, "on_delay_s": 2, "off_delay_s": 2, "period_s": 1}
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


def row(second: float, level: float = 0.0) -> dict[str, Any]:
    """A row of noise, and of an anomaly where `level` swings."""
    noise = np.random.default_rng(abs(int(second))).normal(size=2) * 0.5
    swing = level * (1 if int(second) % 2 else -1)
    moment = (NOW + timedelta(seconds=second)).isoformat()
    return {"time": moment, "pressure": float(noise[0]) + swing, "heat": float(noise[1])}


def rows(first: int, count: int, level: float = 0.0) -> list[dict[str, Any]]:
    return [row(second, level) for second in range(first, first + count)]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one detector of windows, which may be asked to forget everything."""
    home = tmp_path_factory.mktemp("lines")
    release_detector(home, "windows")
    release_detector(home, "windows")
    release_detector(home, "hurried")
    budget = '{"hurried": {"ms": 0.01, "fail_safe": "anomaly"}}'  # less than a disk takes
    running = start_server(home, home / "log", GLASSLINE_DEADLINES=budget)
    yield running
    assert running.stop() == 0


@pytest.fixture
def http(lines: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lines.url, timeout=30, trust_env=False) as client:
        yield client


def begin(http: httpx.Client, stream: str, **settings: Any) -> str:
    path = f"{BASE}/{stream}"
    http.delete(path)
    made = http.put(path, json=QUICK | settings)
    assert made.status_code == 200, made.text
    return path


def send(http: httpx.Client, path: str, sent: Any) -> dict[str, Any]:
    answer = http.post(path, json=sent)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def until(found: Any, seconds: float = 20) -> Any:
    """What `found` returns once it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come")


def test_an_alarm_is_raised_recorded_explained_and_dealt_with(http: httpx.Client) -> None:
    path = begin(http, "L1.press")
    said = send(http, path, {"rows": rows(0, 60)})
    assert [r["state"] for r in said["rows"][: STEPS - 1]] == ["warming-up"] * (STEPS - 1)
    assert (said["model_name"], said["model_version"], said["accepted"]) == ("windows", "2", 60)
    said = send(http, path, rows(60, 10, level=9.0))
    (alarm,) = said["alarms"]
    assert alarm["alarm"] == "L1.press:windows:2:1"
    assert alarm["contributors"][0]["sensor"] == "pressure"
    assert said["rows"][-1]["state"] == "active"
    url = f"/v2/alarms/{alarm['alarm']}"
    found = until(lambda: (one := http.get(url).json()).get("job") and one)
    record = http.get(f"/audit/records/{found['record']}").json()
    assert record["record"]["event"] == alarm
    prediction = http.get(f"/audit/records/{found['prediction_record']}").json()
    assert prediction["record"]["kind"] == "prediction"
    job_url = f"/v2/jobs/{found['job']}"  # the first explanation of a process imports a lot
    job = until(lambda: (j := http.get(job_url).json())["state"] == "done" and j, 120)
    assert job["explanation_id"]
    early = http.post(f"{url}/confirm", json={"by": "Ada"})
    assert (early.status_code, "acknowledge it first" in early.text) == (409, True)
    for act in ("acknowledge", "confirm", "shelve", "unshelve"):
        done = http.post(f"{url}/{act}", json={"by": "Ada", "comment": "seen"})
        assert done.status_code == 200, done.text
    assert http.post(f"{url}/acknowledge", json={"by": "Ada"}).status_code == 409
    acts = until(
        lambda: len(a := http.get("/audit/records?kind=alarm-act").json()["records"]) >= 4 and a
    )
    assert {one["parent_id"] for one in acts} == {found["record"]}
    report = http.get(f"/audit/records/{found['record']}/report").text
    for said in ("L1.press", "pressure", "acknowledged", "Ada", "lime-segments", "The input"):
        assert said in report
    refused = http.post(f"/audit/records/{found['record']}/replay")
    assert (refused.status_code, found["prediction_record"] in refused.text) == (409, True)
    for record in (found["prediction_record"], job["explanation_id"]):
        assert http.post(f"/audit/records/{record}/replay").json()["verdict"] == "bit-exact"
    said = send(http, path, {"rows": rows(70, 20)})
    assert [one["change"] for one in said["alarms"]] == ["cleared"]
    state = http.get(path).json()
    assert state["alarm"]["acknowledged"]
    assert state["budget"]["live_alarms"] == 1
    listed = http.get("/v2/alarms?stream=L1.press").json()
    assert [one["active"] for one in listed["alarms"]] == [False]


def test_rows_of_many_streams_come_together_and_are_answered_in_their_order(
    http: httpx.Client,
) -> None:
    for name in ("L2.a", "L2.b"):
        begin(http, name)
    sent = [{"stream": name, **one} for one in rows(0, 12) for name in ("L2.b", "L2.a")]
    said = send(http, BASE, sent)
    assert [r["stream"] for r in said["rows"][:4]] == ["L2.b", "L2.a", "L2.b", "L2.a"]
    assert [r["state"] for r in said["rows"][-2:]] == ["normal", "normal"]
    alone = begin(http, "L2.c")
    assert send(http, alone, rows(0, 12))["rows"][-1] == {
        k: v for k, v in said["rows"][-1].items() if k != "stream"
    }
    names = {one["stream"] for one in http.get(BASE).json()["streams"]}
    assert {"L2.a", "L2.b", "L2.c"} <= names


def test_a_repeated_request_is_known_and_a_changed_one_refused(http: httpx.Client) -> None:
    path = begin(http, "L3.a")
    first = send(http, path, rows(0, 20))
    again = send(http, path, rows(0, 20))
    assert (again["accepted"], again["duplicates"]) == (0, 20)
    assert again["rows"] == [{**one, "duplicate": True} for one in first["rows"]]
    changed = http.post(path, json={**row(5), "heat": 99.0})
    assert changed.status_code == 409
    assert "differs from the one that came at that time" in changed.json()["error"]


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"time": NOW.isoformat(), "speed": 1}, 400, "speed: no such sensor; there are pressure"),
        ({**row(0), "pressure": 5000.0}, 400, "Was the unit of the sensor changed?"),
        ({**row(0), "time": "2099-01-01T00:00:00Z"}, 400, "ahead of this server's clock"),
        ({**row(0), "time": "2024-01-01T00:00:00Z"}, 400, "is_historical"),
        ({**row(0), "time": "yesterday"}, 400, "wanted RFC 3339"),
        ({"pressure": 1.0, "heat": 1.0}, 400, "row 0: has no 'time'"),
        (
            {"rows": [{**row(0), "time": "2099-01-01T00:00:00Z"}], "is_historical": True},
            400,
            "ahead of this server's clock",
        ),
        (
            {"rows": [{**row(0), "time": "0001-01-01T00:00:00+23:00"}], "is_historical": True},
            400,
            "beyond the years 1 to 9999",
        ),
        ([row(0), {**row(0), "heat": 7.0}], 409, "give each a stream of its own"),
        ({**row(0), "stream": "L4.b"}, 400, "go to /v2/models/{model}/streams"),
        ([], 400, "got none"),
        ({"rows": 5}, 400, "wanted"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_words(
    http: httpx.Client, sent: Any, status: int, said: str
) -> None:
    answer = http.post(f"{BASE}/L4.a", json=sent)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert said in answer.json()["error"]
    assert http.get(f"{BASE}/L4.a").status_code == 404  # nothing of it was taken in


def test_numbers_that_json_has_not_are_named(http: httpx.Client) -> None:
    text = f'{{"time": "{NOW.isoformat()}", "pressure": NaN, "heat": 1}}'
    for kind, said in (("application/json", "line 1"), ("application/x-ndjson", "line 1")):
        answer = http.post(f"{BASE}/L4.a", content=text, headers={"content-type": kind})
        assert answer.status_code == 400
        assert said in answer.json()["error"]
        assert "send null where nothing was measured" in answer.json()["error"]
    assert "got none" in http.post(f"{BASE}/L4.a", content=b"").json()["error"]


def test_a_clock_that_is_set_back_is_told_why_nothing_is_taken_in(http: httpx.Client) -> None:
    path = begin(http, "L4.clock")
    send(http, path, rows(600, 10))
    said = send(http, path, rows(0, 2))
    assert (said["accepted"], said["late"]) == (0, 2)
    (note,) = said["notes"]
    newest = f"{NOW + timedelta(seconds=609):%Y-%m-%dT%H:%M:%SZ}"
    assert f"2 rows are older than its newest, of {newest}" in note
    assert "Was the sender's clock set back?" in note
    old = send(http, path, {"rows": rows(0, 1), "is_historical": True})
    assert "send it to a stream of its own" in old["notes"][0]
    assert "notes" not in send(http, path, rows(610, 1))


@pytest.mark.parametrize(
    "path", ["nothing/streams", "nothing/streams/L1.a", "windows/versions/9/streams"]
)
def test_streams_of_a_model_that_is_nowhere_are_not_found(http: httpx.Client, path: str) -> None:
    answer = http.get(f"/v2/models/{path}")
    assert answer.status_code == 404
    assert "is not in the store" in answer.text or "has no version" in answer.text


def test_a_range_of_the_stream_tells_a_changed_unit(http: httpx.Client) -> None:
    path = begin(http, "L4.b", ranges={"heat": [-10, 40]})
    answer = http.post(path, json={**row(0), "heat": 104.0})  # it was degrees Fahrenheit
    assert answer.status_code == 400
    assert "heat: got 104, wanted -10 to 40" in answer.json()["error"]
    assert http.put(path, json={"ranges": {"cold": [0, 1]}}).status_code == 400
    turned = http.put(f"{BASE}/L4.turned", json={"ranges": {"heat": [40, -10]}})
    assert (turned.status_code, "wanted the lowest value first" in turned.text) == (400, True)
    assert http.put(path, json={"on_delay": 1}).status_code == 400


def test_a_stream_that_runs_takes_other_settings_and_that_it_did_is_recorded(
    http: httpx.Client,
) -> None:
    path = begin(http, "L4.c")
    send(http, path, rows(0, 40))
    assert http.put(path, json=QUICK).json()["changed"] == {}
    said = http.patch(path, json={"off_delay_s": 7, "rate": 0.04}).json()
    assert said["changed"] == {"off_delay_s": [2.0, 7.0], "rate": [0.02, 0.04]}
    assert said["settings"] == http.get(path).json()["settings"]
    assert said["settings"]["on_delay_s"] == QUICK["on_delay_s"]  # what is not named stays
    assert (said["budget"]["row_rate"], said["warm_up"]["over"]) == (0.04, True)
    assert send(http, path, rows(40, 10, level=9.0))["alarms"][0]["change"] == "raised"
    assert send(http, path, rows(50, 7))["alarms"] == []
    assert send(http, path, rows(57, 20))["alarms"][0]["change"] == "cleared"
    (found,) = until(
        lambda: http.get("/audit/records?decision=reconfigured").json()["records"] or None
    )
    about = http.get(f"/audit/records/{found['id']}").json()["record"]["stream"]
    assert about.pop("by")
    assert about == {
        "model": "windows", "version": "2", "stream": "L4.c", "rows": 40,
        "settings": said["changed"],
    }  # fmt: skip
    report = http.get(f"/audit/records/{found['id']}/report").text
    assert "L4.c, other settings" in report
    assert re.search(r">off_delay_s</td>\s*<td[^>]*>2</td>\s*<td[^>]*>7</td>", report)


def test_settings_that_a_running_stream_cannot_take_are_refused(http: httpx.Client) -> None:
    path = begin(http, "L4.d")
    assert http.patch(f"{BASE}/L4.nowhere", json={"latch": True}).status_code == 404
    said = http.patch(path, json={"latch": True, "smoothing": 0.9}).json()["changed"]
    assert said == {"latch": [False, True], "smoothing": [1.0, 0.9]}  # nothing is learnt yet
    send(http, path, rows(0, 5))
    for settings, status, reason in (
        ({"smoothing": 0.5}, 409, "smoothing 0.9"),
        ({"on_delay": 1}, 400, "on_delay"),
        ({"ranges": {"cold": [0, 1]}}, 400, "cold: no such sensor"),
        ([1], 400, "wanted a JSON object"),
        ({"on_delay_s": None}, 400, "on_delay_s"),
    ):
        refused = http.patch(path, json=settings)
        assert (refused.status_code, reason in refused.json()["error"]) == (status, True)
    refused = http.put(path, json={"events_per_hour": 3})  # and all else the default
    assert (refused.status_code, "PATCH changes only" in refused.text) == (409, True)
    assert http.get(path).json()["settings"]["latch"]
    assert http.delete(path).json()["rows"] == 5
    assert http.get(path).status_code == 404


def test_history_alarms_nobody(http: httpx.Client) -> None:
    path = begin(http, "L5.a")
    old = [{**one, "time": one["time"].replace("20", "19", 1)} for one in rows(0, 40, level=9.0)]
    calm = [{**one, "time": one["time"].replace("20", "19", 1)} for one in rows(-60, 60)]
    before = http.get("/v2/alarms").json()["last_event_id"]
    said = send(http, path, {"rows": calm + old, "is_historical": True})
    assert said["alarms"][0]["historical"]
    assert http.get(f"/v2/alarms?after={before}").json()["events"] == []
    history = http.get("/v2/alarms?history=true&stream=L5.a").json()
    assert history["alarms"][0]["historical"]
    assert send(http, path, rows(0, 1))["alarms"][0]["historical"]  # what was left open is closed


def test_the_feed_goes_on_after_the_last_event_that_is_known(http: httpx.Client) -> None:
    path = begin(http, "L6.a")
    known = http.get("/v2/alarms").json()["last_event_id"]
    send(http, path, rows(0, 40))
    send(http, path, rows(40, 10, level=9.0))
    send(http, path, rows(50, 30))

    def events(after: int, count: int) -> list[tuple[int, str]]:
        headers = {"accept": "text/event-stream", "last-event-id": str(after)}
        found: list[tuple[int, str]] = []
        with http.stream("GET", "/v2/alarms", headers=headers) as feed:
            number = 0
            for line in feed.iter_lines():
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line.startswith("event: "):
                    found.append((number, line[7:]))
                    if len(found) == count:
                        return found
        raise AssertionError("the feed ended")

    both = events(known, 2)
    assert [change for _, change in both] == ["raised", "cleared"]
    assert events(both[0][0], 1) == both[1:]
    beyond = http.get("/v2/alarms").json()["last_event_id"] + 1000  # of a home that is no more
    with ThreadPoolExecutor() as waiting:
        later = waiting.submit(events, beyond, 1)
        time.sleep(1)
        acknowledged = http.post("/v2/alarms/L6.a:windows:2:1/acknowledge", json={"by": "Ada"})
        assert acknowledged.status_code == 200
        assert [change for _, change in later.result(timeout=20)] == ["acknowledged"]
    bad = http.get("/v2/alarms", headers={"accept": "text/event-stream", "last-event-id": "x"})
    assert bad.status_code == 400


def test_a_stream_moves_as_bytes_and_goes_on_bit_for_bit(http: httpx.Client) -> None:
    path, other = begin(http, "L7.a"), begin(http, "L7.b")
    send(http, path, rows(0, 30))
    send(http, other, rows(0, 30))
    state = "/v2/models/windows/versions/2/streams/L7.a/state"
    saved = http.get(state).content
    assert http.put(state, content=saved).status_code == 409  # it is here
    http.delete(path)
    assert http.put(state, content=saved).status_code == 200
    assert send(http, path, rows(30, 5))["rows"] == send(http, other, rows(30, 5))["rows"]
    wrong = http.put(state.replace("L7.a", "L7.c"), content=saved)
    assert (wrong.status_code, "PUT it where it belongs" in wrong.text) == (409, True)
    assert http.put(state, content=saved[:-1]).status_code == 409


def test_a_verdict_that_is_late_is_the_fail_safe_and_says_so(http: httpx.Client) -> None:
    path = "/v2/models/hurried/streams/L1.a"
    said = send(http, path, rows(0, 10))
    assert (said["deadline_missed"], said["verdict"], said["accepted"]) == (True, "anomaly", 0)
    # The rows are taken in all the same.
    until(lambda: http.get(path).status_code == 200 and http.get(path).json()["counts"]["rows"])
    counted = 'glassline_deadlines_missed_total{model="hurried",version="1"}'
    assert counted in http.get("/metrics").text


def test_a_model_that_is_unloaded_keeps_its_streams(http: httpx.Client) -> None:
    path = begin(http, "L8.a")
    send(http, path, rows(0, 20))
    http.post("/v2/repository/models/windows/unload")
    refused = http.post(path, json=row(20))
    assert (refused.status_code, "unloaded" in refused.json()["error"]) == (503, True)
    assert http.get(path).json()["counts"]["rows"] == 20
    http.post("/v2/repository/models/windows/load")
    assert send(http, path, row(20))["rows"][0]["state"] == "normal"


def test_versions_of_a_model_have_streams_of_their_own(http: httpx.Client) -> None:
    path = begin(http, "L9.a")
    send(http, path, rows(0, 20))
    older = "/v2/models/windows/versions/1/streams/L9.a"
    assert send(http, older, rows(0, 3))["rows"][-1]["state"] == "warming-up"
    assert http.get(path).json()["model_version"] == "2"
    assert http.get(older).json()["counts"]["rows"] == 3


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    """The same rows, killed again and again, give the same alarm log as once through."""
    from tests.bench.stream_kills import run

    seen = run(tmp_path, rounds=3, rows_a_round=120)
    assert seen["logs_equal"]
    assert (seen["lost"], seen["events"] > 0) == (0, True)
    assert (seen["feed_equal"], seen["one_record_an_alarm"]) == (True, True)


def test_two_processes_have_one_owner_and_another_takes_over(tmp_path: Path) -> None:
    release_detector(tmp_path, "windows")
    server = start_server(tmp_path, tmp_path / "log", GLASSLINE_WORKERS="2")
    try:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
            path = begin(http, "L1.a")
            for second in range(30):  # a connection each: whichever process accepts it
                answer = httpx.post(f"{server.url}{path}", json=row(second), trust_env=False)
                assert answer.status_code == 200, answer.text
            assert http.get(path).json()["counts"]["rows"] == 30
            owner = _lock_holder(tmp_path / "run" / "streams.lock")
            os.kill(owner, signal.SIGKILL)

            def resumed() -> bool:
                try:
                    again = httpx.post(
                        f"{server.url}{path}", json=row(30), trust_env=False, timeout=30
                    )
                except httpx.HTTPError:  # the killed process had accepted it
                    return False
                assert again.status_code == 200, again.text  # it waited for the next owner
                return True

            until(resumed)
            assert _lock_holder(tmp_path / "run" / "streams.lock") not in (0, owner)
            state = httpx.get(f"{server.url}{path}", trust_env=False).json()
            assert state["counts"]["rows"] == 31
    finally:
        server.stop()


def test_a_server_is_ready_once_its_streams_are_back(tmp_path: Path) -> None:
    """Nobody who was told that it is ready is told that nobody owns the streams."""
    release_detector(tmp_path, "windows")
    (tmp_path / "run").mkdir()
    port = str(free_port())
    with (tmp_path / "run" / "streams.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a process that is about to bring them back
        process = glassline_process(
            tmp_path, tmp_path / "log", GLASSLINE_PORT=port, GLASSLINE_WORKERS="2"
        )
        server = Server(f"http://127.0.0.1:{port}", tmp_path, process, tmp_path / "log")
        ready = f"{server.url}/v2/health/ready"

        def held_back() -> bool:
            try:
                said = httpx.get(ready, trust_env=False)
            except httpx.HTTPError:
                return False
            assert said.status_code == 503
            return "streams are being brought back" in said.text

        try:
            until(held_back, 120)
        except BaseException:
            server.stop()
            raise
    try:
        until(lambda: httpx.get(ready, trust_env=False).status_code == 200)
        for second in range(20):  # a connection each: whichever process accepts it
            answer = httpx.post(
                f"{server.url}{BASE}/L1.a", json=row(second), trust_env=False, timeout=30
            )
            assert answer.status_code == 200, answer.text
    finally:
        server.stop()


def _lock_holder(path: Path) -> int:
    """The process that holds a lock on a file; 0 = nobody."""
    inode = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        parts = line.split()
        if parts[1] == "FLOCK" and parts[5].endswith(f":{inode}"):
            return int(parts[4])
    return 0


def test_the_sensors_of_the_detector_are_those_that_are_sent() -> None:
    assert tuple(row(0))[1:] == SENSORS


def test_an_alarm_is_called_false_and_true_and_both_are_recorded(
    http: httpx.Client, lines: Server, tmp_path: Path
) -> None:
    path = begin(http, "L6.press")
    send(http, path, rows(0, 60))
    (alarm,) = send(http, path, rows(60, 10, level=9.0))["alarms"]
    send(http, path, rows(70, 20))
    url = f"/v2/alarms/{alarm['alarm']}/feedback"
    said = http.post(url, json={"verdict": "false", "by": "Ada", "comment": "cleaning"})
    assert said.status_code == 200, said.text
    assert said.json()["change"] == "judged-false"
    assert "enter the calibration" in said.json()["calibration"]
    assert http.get(f"/v2/alarms/{alarm['alarm']}").json()["judged"] == "false"
    assert http.get(path).json()["feedback"] == {"true": 0, "false": 1, "precision": 0.0}
    typed = {"content-type": "application/x-www-form-urlencoded"}  # what curl -d says
    told = http.post(url, content=b'{"verdict": true, "by": "Bob"}', headers=typed)
    assert told.json()["precision"] == 1.0, told.text
    assert http.get(f"/v2/alarms/{alarm['alarm']}").json()["judged"] == "true"
    found = until(
        lambda: len(a := http.get("/audit/records?decision=judged-false").json()["records"]) and a
    )
    assert http.get(f"/audit/records/{found[0]['id']}").json()["record"]["event"]["by"] == "Ada"
    for ending in ("csv", "parquet"):
        target = tmp_path / f"windows.{ending}"
        done = glassline(
            "alarms", "export", "--labelled", str(target), "--url", lines.url, home=lines.home
        )
        assert done.returncode == 0, done.stderr
        assert "1 windows" in done.stdout
    header, first, *more = (tmp_path / "windows.csv").read_text().splitlines()
    assert header == "alarm,stream,model,version,raised,label,step,pressure,heat"
    assert first.startswith(f"{alarm['alarm']},L6.press,windows,2,")
    window = np.float32([line.split(",")[7:] for line in (first, *more)])
    assert window.shape == (STEPS, 2)
    assert len(first.split(",")[7]) <= 12  # as many digits as a float32 has
    assert [line.split(",")[5:7] for line in (first, *more)] == [
        ["1", str(n)] for n in range(STEPS)
    ]
    for wrong in ({"verdict": "maybe", "by": "Ada"}, {"verdict": "true"}, {"by": "Ada"}):
        refused = http.post(url, json=wrong)
        assert (refused.status_code, "GET /docs" in refused.text) == (400, True)
    gone = http.post("/v2/alarms/L6.press:windows:2:77/feedback",
                     json={"verdict": "true", "by": "Ada"})  # fmt: skip
    assert gone.status_code == 404
    assert "glassline_alarm_feedback_total" in http.get("/metrics").text


def test_a_drift_is_told_apart_from_alarms_and_survives_a_move(http: httpx.Client) -> None:
    path = begin(http, "L7.press", drift_rows=5, rate=0.001, on_delay_s=60)
    for at in range(0, 400, 100):
        send(http, path, rows(at, 100))
    assert http.get(f"{path}/drift").json()["drifting"] is False
    shifted = [{**one, "heat": one["heat"] + 5.0} for one in rows(400, 300)]
    events = [
        e for at in range(0, 300, 100) for e in send(http, path, shifted[at : at + 100])["alarms"]
    ]
    drifts = [one for one in events if one["change"] == "drift-begun"]
    assert [one["alarm"] for one in drifts] == ["L7.press:windows:2:drift"]
    assert drifts[0]["signals"][0]["signal"] == "heat"
    standing = http.get("/v2/alarms?stream=L7.press").json()["drifts"]
    assert standing == drifts
    told = http.get(f"{path}/drift").json()
    assert told["drifting"] is True
    assert abs(told["signals"][0]["spreads"] - 10) < 2
    picture = http.get(f"{path}/drift", headers={"accept": "image/png"})
    assert picture.content.startswith(b"\x89PNG")
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    for place in (path, path.replace("/streams/", "/versions/2/streams/")):
        page = http.get(f"{place}/drift", headers=browser)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["vary"] == "accept"
        assert "heat has drifted" in page.text
    assert http.get(f"{path}/drift", headers={"accept": "image/gif"}).status_code == 406
    found = until(lambda: http.get("/audit/records?kind=drift").json()["records"])
    assert found[0]["decision"] == "drift-begun"
    state_url = "/v2/models/windows/versions/2/streams/L7.press/state"
    state = http.get(state_url).content
    assert http.delete(path).status_code == 200
    assert http.put(state_url, content=state).status_code == 200
    assert http.get(f"{path}/drift").json() == told
    said = http.post(f"{path}/drift", json={"by": "Ada", "comment": "new tool"})
    assert said.json()["change"] == "drift-rebased"
    assert http.get("/v2/alarms?stream=L7.press").json()["drifts"] == []
    assert http.get(f"{path}/drift").json()["drifting"] is False
    off = begin(http, "L8.press", drift_rows=0)
    send(http, off, rows(0, 5))
    assert http.get(f"{off}/drift").status_code == 409
