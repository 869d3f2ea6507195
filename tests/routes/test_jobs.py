"""Explanations for later, on a running server, and over its violent death."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running_server import start_server

PNG = {"content-type": "image/png"}
LATER = {**PNG, "prefer": "respond-async, wait=10"}
EXPLAIN = "/v2/models/lenet-digits/explain"


def finished(client: httpx.Client, location: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(location).json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.1)
    pytest.fail(f"the job did not end: {job}")


def test_a_job_is_accepted_and_its_explanation_is_the_one_of_now(
    client: httpx.Client, digit_png: bytes
) -> None:
    now = client.post(EXPLAIN, content=digit_png, headers=PNG, params={"seed": 7}).json()
    accepted = client.post(EXPLAIN, content=digit_png, headers=LATER, params={"seed": 7})
    assert accepted.status_code == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    assert accepted.json()["state"] == "queued"
    job = finished(client, accepted.headers["location"])
    assert job["state"] == "done"
    assert job["progress"]["samples_done"] == job["progress"]["samples"] == 1000
    later = client.get(job["links"]["explanation"]).json()
    assert later == now, "identical requests share one explanation"


def test_a_past_prediction_is_explained_later(client: httpx.Client, digit_png: bytes) -> None:
    infer = client.post("/v2/models/lenet-digits/infer", content=digit_png, headers=PNG)
    record_id = infer.headers["glassline-record-id"]
    accepted = client.post(f"/v2/records/{record_id}/explain", headers={"prefer": "respond-async"})
    assert accepted.status_code == 202
    assert finished(client, accepted.headers["location"])["record_id"] == record_id


def test_what_cannot_be_explained_is_reported(client: httpx.Client, digit_png: bytes) -> None:
    accepted = client.post(EXPLAIN, content=digit_png, headers=LATER, params={"num_features": 5000})
    job = finished(client, accepted.headers["location"])
    assert job["state"] == "failed"
    assert job["error"]["kind"] == "InvalidParameter"
    assert "num_features" in job["error"]["message"]


def test_a_running_job_is_taken_back(client: httpx.Client, digit_png: bytes) -> None:
    params = {"num_samples": 20_000, "segmentation": "grid"}
    locations = [
        client.post(EXPLAIN, content=digit_png, headers=LATER, params=params).headers["location"]
        for _ in range(3)
    ]
    for location in locations:
        assert client.delete(location).json()["state"] == "cancelled"
        again = client.delete(location)
        assert again.status_code == 409
        assert set(again.json()) == {"error"}
    # Whoever asks now does not wait for what nobody wants any more.
    assert client.post(EXPLAIN, content=digit_png, headers=PNG).status_code == 200


def test_refusals(client: httpx.Client, digit_png: bytes) -> None:
    assert client.get("/v2/jobs/nobody").status_code == 404
    assert client.delete("/v2/jobs/nobody").status_code == 404
    unknown = "/v2/records/01890a5d-ac96-774b-bcce-b302099a8057/explain"
    assert client.post(unknown, headers={"prefer": "respond-async"}).status_code == 404
    bad = client.post(EXPLAIN, content=b"no picture", headers=LATER)
    assert bad.status_code == 400
    assert client.post(
        EXPLAIN, content=digit_png, headers=LATER, params={"num_samples": 10**9}
    ).status_code == 400  # fmt: skip


@pytest.mark.slow
def test_an_accepted_job_survives_kill_9_of_everything(
    home: Path, tmp_path: Path, digit_png: bytes
) -> None:
    own = tmp_path / "home"
    own.mkdir()
    shutil.copytree(home / "bentoml", own / "bentoml")
    first = start_server(own, tmp_path / "first.log")
    with first.client() as client:
        locations = [
            client.post(
                EXPLAIN, content=digit_png, headers=LATER,
                params={"num_samples": 20_000, "seed": n},
            ).headers["location"]
            for n in range(3)
        ]  # fmt: skip
    subprocess.run(["pkill", "-9", "-P", str(first.process.pid)], check=False)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    for process in ("glassline --", "glassline-explainer", "service.audit.sequencer"):
        _kill(process, own)
    second = start_server(own, tmp_path / "second.log")
    with second.client() as client:
        jobs = [finished(client, location, seconds=90) for location in locations]
        assert [job["state"] for job in jobs] == ["done"] * 3
        for job in jobs:
            assert client.get(job["links"]["explanation"]).status_code == 200
    assert second.stop() == 0


def _kill(pattern: str, home: Path) -> None:
    """kill -9 for what is left of a home's processes."""
    found = subprocess.run(
        ["pgrep", "-f", "--", pattern], capture_output=True, text=True, check=False
    )
    for pid in found.stdout.split():
        try:
            mine = f"GLASSLINE_HOME={home}\0" in Path(f"/proc/{pid}/environ").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mine:
            subprocess.run(["kill", "-9", pid], check=False)
