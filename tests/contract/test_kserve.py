"""The KServe SDK, V2 and V1, works against us unmodified."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.contract.environments import python_with
from tests.running_server import REPOSITORY, Server

pytestmark = pytest.mark.slow
SCRIPT = REPOSITORY / "tests/contract/kserve_client.py"


@pytest.fixture(scope="module")
def seen(server: Server) -> dict[str, Any]:
    """What the client saw."""
    done = subprocess.run(
        [python_with("kserve==0.21.0"), SCRIPT, server.url],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def test_v2_health_and_inference_in_both_forms(seen: dict[str, Any]) -> None:
    assert (seen["live"], seen["ready"], seen["model_ready"]) == (True, True, True)
    json_answer, binary_answer = seen["answers"]["json"], seen["answers"]["binary"]
    assert (json_answer["id"], binary_answer["id"]) == ("json", "binary")
    assert json_answer["label"] == binary_answer["label"]
    assert json_answer["probabilities"][0] == pytest.approx(binary_answer["probabilities"][0])


def test_v1_predicts_explains_and_refuses(seen: dict[str, Any]) -> None:
    assert seen["v1_labels"] == seen["answers"]["json"]["label"]
    assert seen["v1_explained"] == seen["v1_labels"][0]
    assert seen["refusal"] == 400
