"""Every architecture, small: trained on a folder, released through the gate, served, explained."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.store import ModelStore
from tests.running_server import Server, a_server
from tests.training.pictures_on_disk import bars
from training import train_cnn
from training.options import CNN

SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 0.1, "size": 32},
    "inception": {"width": 0.1, "size": 32},
    "resnet34": {"width": 0.07, "size": 32},
    "tuned": {"pretrained": "efficientnet_lite0", "tune": "last-1", "size": 32},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bars(tmp_path_factory.mktemp("pictures") / "bars")


@pytest.fixture(scope="module")
def home_of_all(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each, trained for two epochs."""
    home = tmp_path_factory.mktemp("cnn")
    for name, said in SMALL.items():
        arch = {} if name == "tuned" else {"arch": name}
        options = dataclasses.replace(CNN, epochs=2, batch_size=8, device="cpu")
        config = train_cnn.Config(
            data=str(pictures), name=f"{name}-bars", options=options, **arch, **said
        )
        train_cnn.main(config, ModelStore(home), Console(file=io.StringIO()))
    return home


@pytest.fixture(scope="module")
def serving(home_of_all: Path) -> Iterator[Server]:
    with a_server(home_of_all) as running:
        yield running


@pytest.mark.parametrize("name", SMALL)
def test_it_passed_the_gate(name: str, home_of_all: Path) -> None:
    manifest = ModelStore(home_of_all).get(f"{name}-bars").manifest
    assert manifest.parity.max_abs_difference <= 1e-5
    assert manifest.parity.label_flips == 0
    assert manifest.parity.rows == 8
    assert manifest.labels == ("lying", "standing")
    assert manifest.randomisation is not None
    assert manifest.provenance.data["train_rows"] == 24
    if name == "tuned":
        assert str(manifest.provenance.data["pretrained"]).startswith("efficientnet-lite0")


@pytest.mark.parametrize("name", SMALL)
def test_it_is_served_and_explained(name: str, serving: Server, pictures: Path) -> None:
    body = (pictures / "lying" / "000.png").read_bytes()
    with serving.client(120) as client:
        png = {"Content-Type": "image/png"}
        answer = client.post(f"/v2/models/{name}-bars/infer", content=body, headers=png)
        assert answer.status_code == 200, answer.text
        outputs = {one["name"]: one["data"] for one in answer.json()["outputs"]}
        assert outputs["label"][0] in ("lying", "standing")
        assert sum(outputs["probabilities"]) == pytest.approx(1, abs=1e-5)
        why = client.post(f"/v2/models/{name}-bars/explain", content=body, headers=png)
        assert why.status_code == 200, why.text
