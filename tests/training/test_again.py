"""The manifest has all it takes to train a model again, to the very same weights."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.store import ModelStore, StoredModel
from tests.by_command import train
from training import train_mlp
from training.again import configured, train_again
from training.options import Options, WrongOption
from training.train_mlp import Config

#: Nothing in it is what a command would take by itself.
OPTIONS = Options(
    seed=5, epochs=3, batch_size=16, reshuffle=False, optimizer="nesterov", learning_rate=0.02,
    momentum=0.8, schedule="step", schedule_every=2, schedule_factor=0.3, warmup=1, l1=1e-4,
    l2=1e-3, dropout=0.1, activation="tanh", scaling="minmax11", class_weights="balanced",
    device="cpu", log="csv",
)  # fmt: skip


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelStore, StoredModel]:
    folder = tmp_path_factory.mktemp("again")
    options = dataclasses.replace(OPTIONS, log_folder=str(folder / "logs"))
    store = ModelStore(folder / "home")
    config = Config(data="wine", hidden=(6, 5), name="again", options=options, split_seed=3)
    return store, train_mlp.main(config, store, quiet())


def test_the_manifest_gives_the_configuration_back(once: tuple[ModelStore, StoredModel]) -> None:
    script, config = configured(once[1].manifest)
    assert script is train_mlp
    assert (config.data, config.hidden, config.split_seed) == ("wine", (6, 5), 3)
    # Where files are is not part of what is learnt.
    kept = dataclasses.asdict(config.options)
    wanted = dataclasses.asdict(OPTIONS)
    assert {n for n in kept if kept[n] != wanted[n]} == {"log", "log_folder"}


def test_the_same_seed_gives_the_same_weights_again(once: tuple[ModelStore, StoredModel]) -> None:
    store, stored = once
    done = train_again(stored.manifest, store, quiet())
    assert done.same
    assert done.data[0] == done.data[1]
    assert int(done.stored.manifest.version) > int(stored.manifest.version)
    assert done.stored.manifest.graphs == stored.manifest.graphs  # to the byte
    assert done.stored.manifest.metrics == stored.manifest.metrics


def test_other_weights_are_told(once: tuple[ModelStore, StoredModel]) -> None:
    store, stored = once
    manifest = stored.manifest
    config: dict[str, Any] = {**manifest.provenance.config}
    config["options"] = {**config["options"], "seed": 6}
    made = manifest.provenance.model_copy(update={"config": config})
    done = train_again(manifest.model_copy(update={"provenance": made}), store, quiet())
    assert not done.same


@pytest.mark.slow
def test_the_command_says_whether_they_are_the_same(
    once: tuple[ModelStore, StoredModel],
) -> None:
    home = once[1].folder.parents[3]
    done = train("--from-manifest", "again@1", "--to", "fp16", home=home)
    assert done.exit_code == 0, done.output
    assert "the same as again@1" in done.output.replace("\n", " ")
    newest = once[0].get("again").manifest
    assert newest.precision == "fp16"
    assert newest.compression is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"script": "elsewhere/train.py"}, "is no training script of this Glassline"),
        ({"script": "training/train_nothing.py"}, "is no training script of this Glassline"),
        ({"script": "training/options.py"}, "is no training script of this Glassline"),
        ({"config": {"hidden": "many"}}, "its configuration is none of this Glassline"),
        ({"config": {"options": {"epochs": 0}}}, "--epochs: got 0"),
        ({"config": {"magic": 1}}, r"has \['magic'\], which nobody knows here"),
    ],
)
def test_what_cannot_be_run_again_is_refused(
    once: tuple[ModelStore, StoredModel], changes: dict[str, Any], message: str
) -> None:
    manifest = once[1].manifest
    made = manifest.provenance.model_copy(update=changes)
    with pytest.raises(WrongOption, match=message):
        configured(manifest.model_copy(update={"provenance": made}))


@pytest.mark.parametrize(
    ("words", "status"),
    [(["--to", "int8"], 2), (["--from-manifest", "a", "mlp"], 2), (["--from-manifest", "gone"], 1)],
)
def test_wrong_usage_is_one_message(words: list[str], status: int, tmp_path: Path) -> None:
    done = train(*words, home=tmp_path)
    assert done.exit_code == status, done.output
    assert "error: " in done.output
    assert "Traceback" not in done.output
