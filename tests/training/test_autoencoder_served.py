"""Every kind of autoencoder, small: trained, released through the gate, served, explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.store import ModelStore
from service.streaming.scoring import subject_of
from tests.running_server import Server, a_server
from training import train_autoencoder
from training.autoencoder_config import KINDS, Config
from training.options import AUTOENCODER

DIGITS: dict[str, Any] = {"data": "digits", "size": 16}
DAYS: dict[str, Any] = {"data": "power-demand", "window": 24}
SMALL: dict[str, dict[str, Any]] = {
    "conv": DIGITS,
    "sparse": DIGITS,
    "vae": DIGITS,
    "dense": DAYS,
    "denoising": DAYS,
    "lstm": DAYS,
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each, trained for six epochs."""
    home = tmp_path_factory.mktemp("autoencoders")
    options = dataclasses.replace(AUTOENCODER, epochs=6, device="cpu")
    for kind, said in SMALL.items():
        config = Config(kind=kind, name=kind, latent=6, units=8, options=options, **said)  # type: ignore[arg-type]
        train_autoencoder.main(config, ModelStore(home), Console(quiet=True))
    return home


@pytest.fixture(scope="module")
def serving(home_of_all: Path) -> Iterator[Server]:
    with a_server(home_of_all) as running:
        yield running


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_passed_the_gate(kind: str, home_of_all: Path) -> None:
    manifest = ModelStore(home_of_all).get(kind).manifest
    assert manifest.task == "anomaly"
    assert manifest.calibration is not None
    assert manifest.parity.label_flips == 0
    assert manifest.parity.max_abs_difference <= manifest.parity.tolerance
    assert manifest.metrics["auroc"] > 0.6
    names = [output.name for output in manifest.outputs]
    assert names == ["score", "error", "reconstruction", "latent", "parts"]


@pytest.mark.parametrize("kind", [kind for kind, said in SMALL.items() if said is DAYS])
def test_a_release_of_windows_says_what_is_usual_of_its_sensors(
    kind: str, home_of_all: Path
) -> None:
    """Drift is measured against it; these data come with mean 0 and spread 1."""
    found = subject_of(ModelStore(home_of_all).get(kind)).usual
    assert found is not None
    assert found.shape == (2, 2)  # of one sensor and of the score
    assert abs(found[0, 0]) < 0.2
    assert 0.8 < found[1, 0] < 1.2


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_it_is_served_and_explained(kind: str, serving: Server) -> None:
    stored = ModelStore(serving.home).get(kind)
    example = stored.asset("example")
    assert example is not None
    typed = {"Content-Type": {".png": "image/png", ".csv": "text/csv"}[example.suffix]}
    with serving.client(120) as client:
        body = example.read_bytes()
        answer = client.post(f"/v2/models/{kind}/infer", content=body, headers=typed)
        assert answer.status_code == 200, answer.text
        outputs = {one["name"]: one for one in answer.json()["outputs"]}
        assert outputs["verdict"]["data"][0] in ("normal", "anomaly")
        assert 0 < outputs["p_value"]["data"][0] <= 1
        assert len(outputs["latent"]["data"]) == 6
        assert outputs["parts"]["shape"] == [
            1,
            5 if kind == "vae" else len(outputs["parts"]["data"]),
        ]
        words = {"num_samples": "100"}
        why = client.post(f"/v2/models/{kind}/explain", content=body, headers=typed, params=words)
        assert why.status_code == 200, why.text


def test_the_decoder_of_the_vae_is_served_as_a_generator(serving: Server) -> None:
    manifest = ModelStore(serving.home).get("vae-decoder").manifest
    assert (manifest.task, manifest.inputs[0].shape) == ("generate", (-1, 6))
    assert manifest.parity.max_abs_difference <= 1e-5
    asked = {"params": {"seed": 7, "count": 4}, "headers": {"accept": "image/png"}}
    with serving.client() as client:
        first, second = (client.post("/v2/models/vae-decoder/infer", **asked) for _ in range(2))  # type: ignore[arg-type]
        assert first.headers["content-type"] == "image/png"
        assert first.content == second.content
        record = first.headers["glassline-record-id"]
        assert client.post(f"/audit/records/{record}/replay").json()["verdict"] == "bit-exact"
