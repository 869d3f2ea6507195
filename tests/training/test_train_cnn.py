"""Training learns, repeats itself exactly, and leaves nothing lying about."""

from __future__ import annotations

import dataclasses
import io
import statistics
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.errors import GlasslineError
from service.store import ModelStore
from training import train_cnn
from training.data import digits
from training.data.pictures import Pictures
from training.options import CNN
from training.provenance import weights_digest
from training.train_cnn import Config


@pytest.fixture(scope="module")
def data() -> Pictures:
    return digits.load()


def fitted(config: Config, data: Pictures) -> str:
    network, _ = train_cnn.train(config, data, Console(file=io.StringIO()))
    return weights_digest(network)


def asked(**options: Any) -> Config:
    return Config(options=dataclasses.replace(CNN, **options))


def test_the_same_seed_gives_the_same_weights(data: Pictures) -> None:
    first = fitted(asked(epochs=2, seed=5, device="cpu"), data)
    assert fitted(asked(epochs=2, seed=5, device="cpu"), data) == first
    assert fitted(asked(epochs=2, seed=6, device="cpu"), data) != first


def test_it_learns_and_releases_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    written = io.StringIO()
    config = asked(epochs=10, device="cpu")
    stored = train_cnn.main(config, ModelStore(tmp_path / "home"), Console(file=written))
    manifest = stored.manifest
    assert manifest.metrics["accuracy"] >= 0.9  # one digit in ten is chance
    assert manifest.metrics["test_rows"] == 360
    assert list(here.iterdir()) == []
    made = manifest.provenance
    assert (made.seed, made.config["options"]["epochs"]) == (0, 10)
    assert made.data["sha256"] == digits.SHA256
    assert (made.data["train_rows"], made.data["test_rows"]) == (1077, 360)
    assert {"torch", "lightning", "onnxruntime"} <= set(made.libraries)
    assert "git_dirty" in made.environment
    lines = written.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[-2].startswith("lenet-digits: epoch 10/10, validation accuracy 0.9")


def test_diverging_says_what_to_change(data: Pictures) -> None:
    with pytest.raises(GlasslineError, match=r"diverged.*Lower --learning-rate \(it was 0\.99\)"):
        fitted(asked(epochs=1, learning_rate=0.99, optimizer="sgd", l2=1e30, device="cpu"), data)


@pytest.mark.slow
def test_three_seeds_reach_985_in_a_thousand_through_onnx_runtime(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    console = Console(file=io.StringIO())
    accuracies = [
        train_cnn.main(asked(seed=seed), store, console).manifest.metrics["accuracy"]
        for seed in (0, 1, 2)
    ]
    assert store.versions("lenet-digits") == ["1", "2", "3"]
    assert statistics.mean(accuracies) >= 0.985, accuracies
