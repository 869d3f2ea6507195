"""A model with a flipped byte is refused, loudly, and the others keep serving."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.store import ModelStore
from tests.running_server import Server, a_server
from tests.test_store import manifest_of, write_identity_graph


@pytest.fixture
def half_broken(home: Path, tmp_path: Path) -> Iterator[Server]:
    """A server on two models, one of which lost a bit on disk."""
    copy = tmp_path / "home"
    shutil.copytree(home / "bentoml" / "models", copy / "bentoml" / "models")
    graph = tmp_path / "identity.onnx"
    write_identity_graph(graph)
    stored = ModelStore(copy).put(manifest_of(graph), {"model.onnx": graph}).graph()
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(bytes(content))
    with a_server(copy, tmp_path / "server.log") as running:
        yield running


def test_a_flipped_byte_is_refused_while_the_other_model_serves(
    half_broken: Server, digit_png: bytes
) -> None:
    with httpx.Client(base_url=half_broken.url, trust_env=False) as client:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 0.5]}
        broken = client.post("/v2/models/identity/infer", json={"inputs": [tensor]})
        assert broken.status_code == 503
        assert "SHA-256" in broken.json()["error"]
        assert "release the model again" in broken.json()["error"]
        index = {e["name"]: e for e in client.post("/v2/repository/index").json()}
        assert index["identity"]["state"] == "UNAVAILABLE"
        assert "SHA-256" in index["identity"]["reason"]
        good = client.post(
            "/v2/models/lenet-digits/infer",
            content=digit_png,
            headers={"content-type": "image/png"},
        )
        assert good.status_code == 200
    assert "refused to load: model identity@1" in half_broken.log.read_text()
