"""schemathesis on a running server: what the OpenAPI document says holds for whatever is sent.

No 5xx, no answer that the document does not announce, no slow one; while a well-behaved
client beside it gets the same right bits every time.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.running_server import Server, program

INFER = "/v2/models/lenet-digits/infer"
#: Not asked for: what takes the model away from the client beside it, pages for people, and a feed
#: that does not end.
EXCLUDED = "/load$|/unload$|^/docs|^/v2/alarms$"
#: Whether a schema-valid request is right hangs on the model's manifest, which no document knows.
UNCHECKED = "positive_data_acceptance"
#: The names that exist, so that cases get past the first check.
CONFIG = """
[parameters]
"path.model" = "lenet-digits"
"path.version" = "1"
"""


@contextmanager
def well_behaved_client(server: Server, digit_png: bytes) -> Iterator[list[bytes]]:
    """Asks the same question again and again; gives each answer's bits, the right ones first."""
    over = threading.Event()
    headers = {"content-type": "image/png"}

    def answer(client: httpx.Client) -> bytes:
        response = client.post(INFER, content=digit_png, headers=headers)
        assert response.status_code == 200, response.text
        outputs = {o["name"]: o["data"] for o in response.json()["outputs"]}
        return repr(outputs["probabilities"]).encode()

    with server.client(30) as client:
        answers = [answer(client)]  # the right one: nobody else asks yet

    def ask() -> None:
        with server.client(30) as client:
            while not over.wait(0.02):
                answers.append(answer(client))

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            ask()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()
    assert not failures, failures


def fuzz(server: Server, tmp_path: Path, examples: int, *options: str) -> int:
    """Run schemathesis; the number of requests it made up."""
    executable = program("schemathesis")
    if executable is None:
        pytest.skip("schemathesis is not installed: pip install glassline[dev]")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [
            executable, "--config-file", str(config), "run", f"{server.url}/openapi.json",
            "--seed", "20", "--max-examples", str(examples), "--exclude-checks", UNCHECKED,
            "--exclude-path-regex", EXCLUDED, "--max-response-time", "20", "--no-color",
            "--generation-database", "none", *options,
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    generated = re.search(r"([\d,]+) generated", done.stdout)
    assert generated, done.stdout[-2000:]
    return int(generated[1].replace(",", ""))


def test_some_hundred_requests_keep_the_document_true(
    server: Server, digit_png: bytes, tmp_path: Path
) -> None:
    with well_behaved_client(server, digit_png) as answers:
        assert fuzz(server, tmp_path, 3, "--phases", "fuzzing,stateful") > 50
    assert len(set(answers)) == 1
    assert len(answers) > 20


@pytest.mark.slow
def test_five_thousand_requests_keep_the_document_true(
    server: Server, digit_png: bytes, tmp_path: Path
) -> None:
    with well_behaved_client(server, digit_png) as answers:
        cases = fuzz(server, tmp_path, 100, "--continue-on-failure")
    assert cases >= 5_000
    assert len(set(answers)) == 1
    assert len(answers) > 500
    assert "Traceback" not in server.log.read_text()
