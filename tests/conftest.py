"""A real home with a really trained model, and a real server on it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.running_server import Server, a_server, glassline


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with `lenet-digits`, trained for a few epochs by the real command."""
    folder = tmp_path_factory.mktemp("home")
    base = tmp_path_factory.getbasetemp()
    # Workers have folders side by side; whoever comes first trains for all of them.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        trained = shared / "trained"
        if not trained.exists():
            made = tmp_path_factory.mktemp("training")
            done = glassline("train", "cnn", "--epochs", "6", home=made)
            assert done.returncode == 0, done.stdout + done.stderr
            made.rename(trained)
    return Path(shutil.copytree(trained, folder, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two predicting workers on `home`, shared by all tests that only ask."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with a_server(home, log, GLASSLINE_WORKERS="2") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A plain HTTP client of the shared server."""
    with server.client() as http:
        yield http


@pytest.fixture(scope="session")
def digit_png(home: Path) -> bytes:
    """The example digit that was released with the model."""
    return (home / "bentoml/models/lenet-digits/1/example.png").read_bytes()
