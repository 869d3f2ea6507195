"""`tritonclient[http]`, as Triton's users have it, works against us unmodified."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import httpx
import pytest

from tests.contract.environments import python_with
from tests.running_server import REPOSITORY, Server

pytestmark = pytest.mark.slow
SCRIPT = REPOSITORY / "tests/contract/triton_client.py"


@pytest.fixture(scope="module")
def seen(server: Server) -> dict[str, Any]:
    """What the client saw."""
    python = python_with("tritonclient[http]==2.73.0")
    done = subprocess.run(
        [python, SCRIPT, server.url.removeprefix("http://")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_health_and_metadata(seen: dict[str, Any]) -> None:
    health = [seen[k] for k in ("live", "ready", "model_ready", "version_ready", "nobody_ready")]
    assert health == [True, True, True, True, False]
    assert seen["server"] == "glassline"
    assert seen["inputs"][0]["shape"] == [-1, 1, 32, 32]
    assert {"name": "lenet-digits", "version": "1", "state": "READY", "reason": ""} in seen["index"]


def test_every_form_of_tensors_and_compression_gives_the_same_answer(seen: dict[str, Any]) -> None:
    answers = seen["answers"]
    assert len(answers) == 6
    first = answers["binary both ways"]
    assert [len(row) for row in first["probabilities"]] == [10, 10]
    assert sum(first["probabilities"][0]) == pytest.approx(1, abs=1e-5)
    for name, answer in answers.items():
        assert answer["labels"] == first["labels"], name
        assert answer["confidence_left_out"], name
        assert answer["id"] == "shift-2", name
        for row, wanted in zip(answer["probabilities"], first["probabilities"], strict=True):
            assert row == pytest.approx(wanted, abs=1e-7), name


def test_all_outputs_statistics_refusals_and_loading(seen: dict[str, Any]) -> None:
    assert seen["all_outputs"] == ["probabilities", "label", "confidence"]
    assert seen["counted"] == 2  # rows
    status, message = seen["refusal"]
    assert status == "400"
    assert "shape" in message
    assert seen["ready_after_load"] is True


def test_the_wire_form_of_a_compressed_answer(client: httpx.Client) -> None:
    """httpx, too, inflates what it asked for: 100 rows are large enough to be packed."""
    body = {
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [400, 1, 32, 32], "data": [7] * 409600}
        ]
    }
    packed = client.post("/v2/models/lenet-digits/infer", json=body)
    assert packed.headers["content-encoding"] == "gzip"
    plain = client.post(
        "/v2/models/lenet-digits/infer", json=body, headers={"accept-encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    assert packed.json()["outputs"] == plain.json()["outputs"]
