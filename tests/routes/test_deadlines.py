"""Latency budgets on a real server, with graphs that take half a second and budgets of a tenth."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from tests.running_server import Server, start_server
from tests.slow_models import slowed
from tests.small_detector import STEPS, normal_windows, release_detector
from tests.small_models import release_small_models

MS = 100
DEADLINES = {
    "slow-windows": {"ms": MS},
    "slow-parts": {"ms": MS, "fail_safe": "bad"},
    "slow-thickness": {"ms": MS, "fail_safe": [9.5, -1]},
    "patient": {"ms": MS},
    "strict": {"ms": MS, "refuse": True},
    "wrong": {"ms": MS, "fail_safe": "scrap"},
    "windows": {"ms": 0.0001},
    "thickness": {"ms": 60_000, "fail_safe": 0.0},
    "nobody": {"ms": MS},
}
PART = {"x": [5.0, 2.0]}


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("hurried")
    release_detector(home, "windows")
    release_small_models(home)
    slowed(home, "windows", "slow-windows")
    slowed(home, "thickness", "slow-thickness")
    for name in ("slow-parts", "patient", "strict", "wrong"):
        slowed(home, "parts", name)
    said = json.dumps(DEADLINES)
    running = start_server(home, home / "log", GLASSLINE_DEADLINES=said, GLASSLINE_DEVICE="cpu")
    yield running
    assert running.stop() == 0


@pytest.fixture
def http(hurried: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hurried.url, timeout=60, trust_env=False) as client:
        yield client


def windows(rows: int, **more: Any) -> dict[str, Any]:
    data = normal_windows(rows).ravel().tolist()
    tensor = {"name": "window", "datatype": "FP32", "shape": [rows, STEPS, 2], "data": data}
    return {"inputs": [tensor], **more}


def table(rows: int = 1) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "x", "datatype": "FP64", "shape": [rows, 2], "data": PART["x"] * rows}
        ]
    }  # fmt: skip


def infer(http: httpx.Client, model: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(f"/v2/models/{model}/infer", json=body)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def outputs(said: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one["data"] for one in said["outputs"]}


def missed(http: httpx.Client, model: str) -> float:
    """How many late answers of a model the metric has counted."""
    wanted = f'glassline_deadlines_missed_total{{model="{model}",version="1"}} '
    lines = http.get("/metrics").text.splitlines()
    return next((float(one.removeprefix(wanted)) for one in lines if one.startswith(wanted)), 0.0)


def record_of(http: httpx.Client, said: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = http.get(
        f"/audit/records/{said['parameters']['record_id']}"
    ).json()["record"]  # fmt: skip
    return record


@pytest.mark.parametrize(
    ("model", "body", "said", "fail_safe"),
    [
        ("slow-windows", windows(2), {"verdict": ["anomaly"] * 2}, "anomaly"),
        ("slow-parts", table(2), {"label": ["bad"] * 2}, "bad"),
        ("slow-thickness", table(2), {"value": [9.5, -1] * 2}, [9.5, -1]),
    ],
)
def test_a_late_answer_is_the_fail_safe_and_says_so(
    http: httpx.Client, model: str, body: Any, said: Any, fail_safe: Any
) -> None:
    before = missed(http, model)
    answer = infer(http, model, body)
    assert outputs(answer) == said
    marks = {k: v for k, v in answer["parameters"].items() if k != "record_id"}
    assert marks == {"deadline_missed": True, "deadline_ms": MS, "fail_safe": fail_safe}
    assert missed(http, model) == before + 1


def test_nobody_waits_longer_than_the_budget_in_the_queue_or_for_the_graph(
    http: httpx.Client, hurried: Server
) -> None:
    """Eight at once before a graph that takes half a second for each."""
    infer(http, "slow-windows", windows(1))
    started = threading.Barrier(8)

    def ask() -> tuple[float, dict[str, Any]]:
        with httpx.Client(base_url=hurried.url, timeout=60, trust_env=False) as own:
            own.get("/livez")
            started.wait()
            begun = time.perf_counter()
            said = infer(own, "slow-windows", windows(1))
            return time.perf_counter() - begun, said

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(), range(8)))
    waited = [record_of(http, said)["deadline"]["waited_ms"] for _, said in answers]
    # The event loop shares its processors with the graph, hence the room above.
    assert min(waited) >= MS
    assert np.median(waited) < 2.5 * MS
    assert np.median([seconds for seconds, _ in answers]) < 0.3
    assert {said["parameters"]["fail_safe"] for _, said in answers} == {"anomaly"}


def test_the_record_says_what_was_answered_and_why_and_replays(http: httpx.Client) -> None:
    answer = infer(http, "slow-windows", windows(2))
    record = record_of(http, answer)
    assert record["kind"] == "prediction"
    assert record["decision"]["labels"] == ["anomaly"] * 2
    assert [one["name"] for one in record["outputs"]] == ["verdict"]
    deadline = record["deadline"]
    assert (deadline["missed"], deadline["ms"], deadline["fail_safe"]) == (True, MS, "anomaly")
    url = f"/audit/records/{record['id']}"
    again = http.post(f"{url}/replay").json()
    assert (again["verdict"], again["differing"]) == ("bit-exact", [])
    assert again["model_says"] == ["normal"] * 2
    assert "the fail-safe was answered" in again["reason"]
    report = http.get(f"{url}/report").text
    assert "the fail-safe, “anomaly”" in report
    assert "set beforehand; the model did not decide it" in report
    why = http.post(f"/v2/records/{record['id']}/explain")
    assert (why.status_code, "because the model was late" in why.text) == (409, True)
    found = http.get("/audit/records?model=slow-windows&decision=anomaly").json()["records"]
    assert record["id"] in [one["id"] for one in found]


def test_a_regression_is_replayed_beside_the_models_own_values(http: httpx.Client) -> None:
    record = record_of(http, infer(http, "slow-thickness", table()))
    again = http.post(f"/audit/records/{record['id']}/replay").json()
    assert (again["verdict"], again["model_says"]) == ("bit-exact", [[1.0, 0.0]])


def test_a_model_without_a_fail_safe_is_waited_for_and_marked(http: httpx.Client) -> None:
    before = missed(http, "patient")
    answer = infer(http, "patient", table())
    assert set(outputs(answer)) == {"probabilities", "label", "confidence"}
    marks = {k: v for k, v in answer["parameters"].items() if k != "record_id"}
    assert marks == {"deadline_missed": True, "deadline_ms": MS}
    assert missed(http, "patient") == before + 1
    record = record_of(http, answer)
    assert record["deadline"]["fail_safe"] is None
    assert record["deadline"]["waited_ms"] > MS
    again = http.post(f"/audit/records/{record['id']}/replay").json()
    assert (again["verdict"], "model_says" in again) == ("bit-exact", False)


def test_a_late_answer_is_an_error_where_that_is_asked_for(http: httpx.Client) -> None:
    before = missed(http, "strict")
    answer = http.post("/v2/models/strict/infer", json=table())
    assert answer.status_code == 504
    assert "strict@1: not answered within 100 ms, its latency budget" in answer.json()["error"]
    assert missed(http, "strict") == before + 1


def test_a_quick_model_in_the_fast_lane_is_held_to_its_budget_too(http: httpx.Client) -> None:
    answer = infer(http, "windows", windows(1))
    assert outputs(answer) == {"verdict": ["anomaly"]}
    assert answer["parameters"]["deadline_ms"] == 0.0001
    slow_way = infer(http, "%77indows", windows(1))  # the lane takes no escapes
    assert outputs(slow_way) == {"verdict": ["anomaly"]}


def test_an_answer_in_time_says_nothing_of_it(http: httpx.Client) -> None:
    answer = infer(http, "thickness", table())
    assert set(answer["parameters"]) == {"record_id"}
    assert outputs(answer)["value"] == [1.0, 0.0]
    assert "deadline" not in record_of(http, answer)


def test_the_decision_comes_whatever_outputs_were_named(http: httpx.Client) -> None:
    named = [{"name": "score"}, {"name": "verdict", "parameters": {"binary_data": True}}]
    answer = http.post("/v2/models/slow-windows/infer", json=windows(1, outputs=named))
    size = int(answer.headers["inference-header-content-length"])
    assert [one["name"] for one in json.loads(answer.content[:size])["outputs"]] == ["verdict"]
    assert answer.content[size:] == b"\x07\x00\x00\x00anomaly"
    only_the_score = infer(http, "slow-windows", windows(1, outputs=named[:1]))
    assert outputs(only_the_score) == {"verdict": ["anomaly"]}


def test_version_1_of_the_protocol_is_told_as_well(http: httpx.Client) -> None:
    said = http.post("/v1/models/slow-parts:predict", json={"instances": [PART["x"]]}).json()
    assert said["predictions"] == [{"label": "bad"}]
    assert (said["deadline_missed"], said["fail_safe"]) == (True, "bad")


def test_whoever_looks_or_asks_why_waits_for_the_model(http: httpx.Client) -> None:
    before = missed(http, "slow-windows")
    path = "/v2/models/slow-windows"
    picture = http.post(f"{path}/infer", json=windows(1), headers={"accept": "image/png"})
    assert picture.headers["content-type"] == "image/png"
    body = windows(1, parameters={"num_samples": 10})
    why = http.post(f"{path}/explain", json=body, headers={"prefer": "respond-async"})
    assert why.status_code == 202, why.text
    assert missed(http, "slow-windows") == before


def test_a_fail_safe_that_the_model_never_answers_keeps_that_model_down_alone(
    http: httpx.Client,
) -> None:
    refused = http.get("/v2/models/wrong/ready")
    assert refused.status_code == 503
    assert "fail_safe: got 'scrap', wanted one of good, bad" in refused.text
    assert http.post("/v2/models/wrong/infer", json=table()).status_code == 503


def test_a_budget_of_no_model_is_said_in_the_log(hurried: Server) -> None:
    assert "GLASSLINE_DEADLINES: no model is called 'nobody'" in hurried.log.read_text()
