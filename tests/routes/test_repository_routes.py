"""Models come and go while requests run, in all processes, and none is dropped."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.store import ModelStore
from service.tally import FLUSH_SECONDS
from tests.running_server import Server, a_server, glassline, start_server

PNG = {"content-type": "image/png"}
INFER = "/v2/models/lenet-digits/infer"


@pytest.fixture
def own_server(home: Path, tmp_path: Path) -> Iterator[Server]:
    """Two workers on a copy of the store, which the test may add to."""
    own = tmp_path / "home"
    shutil.copytree(home / "bentoml" / "models", own / "bentoml" / "models")
    with a_server(own, tmp_path / "log", GLASSLINE_WORKERS="2") as running:
        yield running


def release_again(home: Path) -> None:
    """A second version: the first one's files under a manifest of its own."""
    store = ModelStore(home)
    first = store.get("lenet-digits", "1")
    second = first.manifest.model_copy(update={"version": "2"})
    parts = (*first.manifest.graphs.values(), *first.manifest.assets.values())
    files = {part.file: first.folder / part.file for part in parts}
    store.put(second, files)


def versions_answering(url: str, png: bytes, requests: int = 30) -> set[str]:
    """Versions that fresh connections, and so both workers, answer with."""
    found = set()
    for _ in range(requests):
        answer = httpx.post(url + INFER, content=png, headers=PNG, trust_env=False)
        found.add(answer.json().get("model_version", str(answer.status_code)))
    return found


def until(url: str, png: bytes, wanted: set[str]) -> None:
    deadline = time.monotonic() + 10
    while (found := versions_answering(url, png)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.slow
def test_load_unload_and_alias_drop_no_request(own_server: Server, digit_png: bytes) -> None:
    statuses: list[int] = []
    running = threading.Event()
    running.set()
    url = own_server.url

    def ask() -> None:
        with httpx.Client(base_url=url, trust_env=False) as client:
            while running.is_set():
                path = "/v2/models/lenet-digits/versions/1/infer"
                statuses.append(client.post(path, content=digit_png, headers=PNG).status_code)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            release_again(own_server.home)
            assert versions_answering(url, digit_png) == {"1"}  # a release alone changes nothing
            assert client.post("/v2/repository/models/lenet-digits/load").json() == {}
            until(url, digit_png, {"2"})
            aliased = glassline(
                "models", "alias", "lenet-digits", "stable", "1", home=own_server.home
            )
            assert aliased.returncode == 0, aliased.stderr
            time.sleep(1.5)
            by_alias = client.post(
                "/v2/models/lenet-digits/versions/stable/infer", content=digit_png, headers=PNG
            )
            assert by_alias.json()["model_version"] == "1"
            latest = client.get("/v2/models/lenet-digits/versions/latest/ready").json()
            assert latest["version"] == "2"
    finally:
        running.clear()
        caller.join()
    assert set(statuses) == {200}
    assert len(statuses) > 50
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        assert client.post("/v2/repository/models/lenet-digits/unload").json() == {}
        until(url, digit_png, {"503"})
        refused = client.post(INFER, content=digit_png, headers=PNG)
        assert "/v2/repository/models/lenet-digits/load" in refused.json()["error"]
        assert client.get("/v2/models/lenet-digits/ready").status_code == 503
        client.post("/v2/repository/models/lenet-digits/load")
        until(url, digit_png, {"2"})


def test_statistics_count_over_all_workers(client: httpx.Client, digit_png: bytes) -> None:
    def counted() -> tuple[int, int]:
        time.sleep(2 * FLUSH_SECONDS)  # the other worker hands its counts over that often
        (stats,) = client.get("/v2/models/lenet-digits/versions/1/stats").json()["model_stats"]
        return stats["inference_count"], stats["inference_stats"]["success"]["count"]

    before = counted()
    for _ in range(10):
        httpx.post(f"{client.base_url}{INFER}", content=digit_png, headers=PNG, trust_env=False)
    after = counted()
    assert (after[0] - before[0], after[1] - before[1]) == (10, 10)


def test_kserve_v1_predicts_and_explains(client: httpx.Client) -> None:
    digit = [[[0] * 32 for _ in range(32)]]
    digit[0][8:24] = [[0] * 12 + [255] * 6 + [0] * 14 for _ in range(16)]
    predicted = client.post("/v1/models/lenet-digits:predict", json={"instances": [digit, digit]})
    assert predicted.status_code == 200, predicted.text
    one, two = predicted.json()["predictions"]
    assert one == two
    assert one["label"] in "0123456789"
    explained = client.post(
        "/v1/models/lenet-digits:explain",
        json={"instances": [digit], "parameters": {"num_samples": 100}},
    )
    assert explained.status_code == 200, explained.text
    (answer,) = explained.json()["explanations"]
    assert answer["explanation"]["explanations"][0]["name"] == one["label"]
    refused = client.post("/v1/models/lenet-digits:predict", json={"instances": []})
    assert refused.status_code == 400
    assert "instances" in refused.json()["error"]


def test_a_slow_body_is_cut_off_and_many_headers_are_refused(
    home: Path, tmp_path: Path, digit_png: bytes
) -> None:
    database = f"sqlite:///{tmp_path / 'records.db'}"
    running = start_server(
        home, tmp_path / "log", GLASSLINE_BODY_TIMEOUT_S="1", GLASSLINE_DATABASE_URL=database
    )

    def dripping() -> Iterator[bytes]:
        for byte in digit_png:
            yield bytes([byte])
            time.sleep(0.2)

    start = time.monotonic()
    try:
        with httpx.Client(base_url=running.url, trust_env=False) as client:
            try:
                slow = client.post(INFER, content=dripping(), headers=PNG)
                assert slow.status_code == 408
            except httpx.WriteError:
                pass  # cut off while it was still sending, before it read the 408
            assert time.monotonic() - start < 10
            many = {f"x-{n}": "1" for n in range(200)}
            assert client.get("/v2", headers=many).status_code == 431
            assert client.post(INFER, content=digit_png, headers=PNG).status_code == 200
    finally:
        running.stop()
