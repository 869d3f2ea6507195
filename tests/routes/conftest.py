"""A server with a model of every modality, for what auditors and reviewers do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.protocol.media import encode_png
from tests.running_server import Server, a_server, glassline
from tests.small_detector import normal_pictures, release_detectors
from tests.small_models import release_small_models


@pytest.fixture(scope="session")
def audited(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of pictures, tables, texts and windows; its records are its own."""
    own = tmp_path_factory.mktemp("audited")
    shutil.copytree(home / "bentoml", own / "bentoml")
    release_small_models(own)
    with a_server(own) as running:
        yield running


@pytest.fixture
def auditor(audited: Server) -> Iterator[httpx.Client]:
    """A plain HTTP client of that server."""
    with audited.client(120) as http:
        yield http


@pytest.fixture(scope="session")
def detecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `windows` and `pictures`, the second with a gallery of 40 pictures."""
    own = tmp_path_factory.mktemp("detecting")
    release_detectors(own)
    shelf = own / "shelf"
    shelf.mkdir()
    for at, picture in enumerate(normal_pictures(40, 77)):
        (shelf / f"board-{at:02d}.png").write_bytes(encode_png(picture))
    done = glassline("models", "gallery", "pictures", "--data", str(shelf), home=own)
    assert done.returncode == 0, done.stdout + done.stderr
    with a_server(own) as running:
        yield running


@pytest.fixture
def detector(detecting: Server) -> Iterator[httpx.Client]:
    """A plain HTTP client of that server."""
    with detecting.client(120) as http:
        yield http
