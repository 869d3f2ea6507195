"""The bento that `bentoml build` makes serves, away from the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.running_server import REPOSITORY, Server, free_port


@pytest.mark.slow
def test_a_built_bento_serves_and_explains(home: Path, digit_png: bytes, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "BENTOML_HOME": str(tmp_path / "home/bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "GLASSLINE_HOME": str(tmp_path / "home"),
        "GLASSLINE_PORT": str(port),
    }
    bentoml = [sys.executable, "-m", "bentoml"]
    subprocess.run(
        [*bentoml, "build", "--output", "tag"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        timeout=120,
        check=True,
    )
    shutil.copytree(home / "bentoml/models", tmp_path / "home/bentoml/models", dirs_exist_ok=True)
    log = tmp_path / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*bentoml, "serve", "glassline:latest", "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", tmp_path / "home", process, log)
    try:
        server.wait_ready()
        answer = httpx.post(
            f"{server.url}/v2/models/lenet-digits/explain",
            content=digit_png,
            headers={"content-type": "image/png", "accept": "image/png"},
            timeout=120,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b"\x89PNG")
    finally:
        server.stop()
