"""Explanations over HTTP: as numbers, picture and page; repeatable; never in the way."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.running_server import Server, a_server
from tests.test_boundaries import descendants

PNG = {"content-type": "image/png"}
INFER = "/v2/models/lenet-digits/infer"
EXPLAIN = "/v2/models/lenet-digits/explain"


def explained(client: httpx.Client, png: bytes, **parameters: int | str) -> dict[str, object]:
    answer = client.post(
        EXPLAIN, content=png, headers=PNG, params={"num_samples": 200} | parameters
    )
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_an_explanation_says_how_far_to_trust_it(client: httpx.Client, digit_png: bytes) -> None:
    answer = explained(client, digit_png)
    explanation = answer["explanation"]
    assert isinstance(explanation, dict)
    assert explanation["segments"]["count"] >= 10
    label = explanation["explanations"][0]
    assert 0 <= label["r2"] <= 1
    assert explanation["quality"]["effective_sample_size"] > 0
    prediction = client.get(f"/audit/records/{answer['record_id']}").json()["record"]
    assert prediction["kind"] == "prediction"
    assert prediction["decision"]["labels"] == [label["name"]]


def test_the_same_seed_gives_the_same_explanation_and_another_seed_another(
    client: httpx.Client, digit_png: bytes
) -> None:
    def weights(seed: int) -> object:
        return explained(client, digit_png, seed=seed)["explanation"]["explanations"][0]["weights"]  # type: ignore[index]

    assert weights(7) == weights(7)
    assert weights(7) != weights(8)


def test_identical_requests_share_one_explanation(client: httpx.Client, digit_png: bytes) -> None:
    def ask(**parameters: int) -> httpx.Response:
        asked = {"num_samples": 200, "seed": 4711} | parameters
        return client.post(EXPLAIN, content=digit_png, headers=PNG, params=asked)

    first, again, other = ask(), ask(), ask(num_features=9)
    assert again.json() == first.json()
    assert other.json()["explanation_id"] != first.json()["explanation_id"]
    predictions = [one.headers["glassline-prediction-id"] for one in (first, again, other)]
    assert len(set(predictions)) == 3, "each prediction has its own record"
    assert first.json()["record_id"] == predictions[0]


def test_quality_that_costs_more_comes_on_request(client: httpx.Client, digit_png: bytes) -> None:
    plain = explained(client, digit_png)["explanation"]["quality"]  # type: ignore[index]
    assert plain["deletion_auc"] is None
    assert plain["vsi"] is None
    asked = explained(client, digit_png, faithfulness="true", repeats=2)["explanation"]["quality"]  # type: ignore[index]
    assert 0 <= asked["deletion_auc"] < asked["insertion_auc"] <= 1
    assert asked["repeats"] == 2
    assert 0 <= asked["vsi"] <= 1
    assert 0 <= asked["csi"] <= 1


def test_an_explanation_is_to_be_had_as_json_png_and_html(
    client: httpx.Client, digit_png: bytes
) -> None:
    answer = explained(client, digit_png)
    path = f"/v2/explanations/{answer['explanation_id']}"
    as_json = client.get(path)
    assert as_json.headers["content-type"] == "application/json"
    assert as_json.json() == answer
    as_png = client.get(path, headers={"accept": "image/png"})
    assert as_png.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(as_png.content)).width >= 300
    as_html = client.get(path, headers={"accept": "text/html,application/xhtml+xml;q=0.9"})
    assert as_html.headers["content-type"].startswith("text/html")
    assert str(answer["explanation_id"]) in as_html.text
    assert "http://" not in as_html.text.replace("http://www.w3.org", "")
    assert "https://" not in as_html.text


def test_one_call_gives_the_picture(client: httpx.Client, digit_png: bytes) -> None:
    headers = {**PNG, "accept": "image/png"}
    answer = client.post(EXPLAIN, content=digit_png, headers=headers, params={"num_samples": 100})
    assert answer.status_code == 200
    location = answer.headers["content-location"]
    assert client.get(location, headers={"accept": "image/png"}).content == answer.content


def test_a_past_prediction_is_explained_by_its_id(client: httpx.Client, digit_png: bytes) -> None:
    record_id = client.post(INFER, content=digit_png, headers=PNG).headers["glassline-record-id"]
    later = client.post(
        f"/v2/records/{record_id}/explain", json={"parameters": {"num_samples": 200, "seed": 3}}
    )
    assert later.status_code == 200, later.text
    assert later.json()["record_id"] == record_id
    at_once = explained(client, digit_png, seed=3)
    assert later.json()["explanation"]["explanations"] == at_once["explanation"]["explanations"]  # type: ignore[index]


def test_the_explanations_record_names_what_it_explains(
    client: httpx.Client, digit_png: bytes
) -> None:
    answer = explained(client, digit_png, seed=11)
    record = client.get(f"/audit/records/{answer['explanation_id']}").json()["record"]
    assert record["kind"] == "explanation"
    assert record["explains"] == answer["record_id"]
    assert record["method"]["parameters"]["seed"] == 11
    assert record["method"]["parameters"]["num_samples"] == 200


@pytest.fixture
def own_server(home: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that a test may hurt; its own records, the shared models."""
    database = f"sqlite:///{tmp_path / 'records.db'}"
    with a_server(home, tmp_path / "server.log", GLASSLINE_DATABASE_URL=database) as running:
        yield running


def explaining_process(server: Server) -> int:
    for pid in descendants(server.process.pid):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"glassline-explainer" in command:
            return pid
    raise AssertionError("no explaining process")


@pytest.mark.slow
def test_killing_the_explaining_process_loses_no_prediction(
    own_server: Server, digit_png: bytes
) -> None:
    statuses: list[int] = []
    running = threading.Event()
    running.set()

    def predict() -> None:
        with httpx.Client(base_url=own_server.url, trust_env=False) as client:
            while running.is_set():
                statuses.append(client.post(INFER, content=digit_png, headers=PNG).status_code)

    caller = threading.Thread(target=predict)
    caller.start()
    try:
        _kill_and_wait(own_server, digit_png)
    finally:
        running.clear()
        caller.join()
    assert len(statuses) > 100
    assert set(statuses) == {200}


def _kill_and_wait(own_server: Server, digit_png: bytes) -> None:
    """Kill the explaining process while somebody waits for it; return when there is another."""
    with own_server.client() as client:
        pid = explaining_process(own_server)
        killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
        killer.start()
        lost = client.post(EXPLAIN, content=digit_png, headers=PNG, params={"num_samples": 20_000})
        # The caller that waited gets its answer from the next process, or is told to try again.
        assert lost.status_code in (200, 503), lost.text
        # BentoML's supervisor brings a new one up; until then 503, never a hang.
        deadline = time.monotonic() + 60
        while True:
            again = client.post(EXPLAIN, content=digit_png, headers=PNG, params={"num_samples": 50})
            if again.status_code == 200:
                break
            assert again.status_code == 503
            assert time.monotonic() < deadline, "the explaining process did not come back"
            time.sleep(0.5)
    assert explaining_process(own_server) != pid
