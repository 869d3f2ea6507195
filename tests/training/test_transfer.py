"""Tuning: what is trained, how fast, and what frozen blocks cost."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from models.transfer import Body, Transferred
from service.errors import GlasslineError
from tests.training.pictures_on_disk import bars
from training import pretrained, train_cnn, transfer
from training.data.pictures import Pictures
from training.optimizers import optimizer_of, schedule_of
from training.options import CNN, WrongOption
from training.provenance import weights_digest
from training.torchvision_import import torchvision
from training.train_cnn import Config
from training.transfer import tuned_blocks

QUIET = Console(file=io.StringIO())


def asked(root: Path, **said: Any) -> Config:
    options = dataclasses.replace(
        CNN, epochs=said.pop("epochs", 6), batch_size=8, learning_rate=3e-3, device="cpu"
    )
    return Config(
        data=str(root), name="bars", pretrained="efficientnet_lite0", size=32, augment="none",
        options=options, **said,
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bars(tmp_path_factory.mktemp("pictures") / "bars")


@pytest.fixture(scope="module")
def data(root: Path) -> Pictures:
    return train_cnn.load(asked(root), QUIET)


def body(blocks: int) -> Body:
    return Body(nn.Identity(), tuple(nn.Conv2d(1, 1, 1) for _ in range(blocks)), nn.Flatten(), 4)


@pytest.mark.parametrize(
    ("tune", "blocks"), [("last", 0), ("last-1", 1), ("last-5", 5), ("all", 5)]
)
def test_tune_says_how_many_blocks(tune: str, blocks: int) -> None:
    assert tuned_blocks(tune, body(5)) == blocks


@pytest.mark.parametrize("tune", ["last-0", "last-6", "last-", "first", "last-1 ", "last-٣"])
def test_another_tune_is_refused(tune: str) -> None:
    with pytest.raises(WrongOption, match=r"--tune: got .* wanted last, last-1 to last-5"):
        tuned_blocks(tune, body(5))


def test_each_block_has_its_own_learning_rate() -> None:
    network = Transferred(body(3), 2, tuned=3)
    rates = {f"tail.{name}": share for name, share in network.tail.rates(0.5).items()}
    options = dataclasses.replace(CNN, learning_rate=0.08, epochs=2)
    optimizer = optimizer_of(network, options, rates)
    found = {group["lr"] for group in optimizer.param_groups}
    assert found == {0.08, 0.04, 0.02, 0.01}  # by hand
    assert optimizer.param_groups[0]["lr"] == 0.08
    schedule_of(optimizer, options, steps=10)
    peaks = [group["max_lr"] for group in optimizer.param_groups]
    assert set(peaks) == {0.08, 0.04, 0.02, 0.01}


@pytest.mark.parametrize("tune", ["last", "last-2"])
def test_a_few_pictures_are_enough_and_frozen_blocks_stay(
    tune: str, root: Path, data: Pictures
) -> None:
    network, fitted = train_cnn.train(asked(root, tune=tune), data, QUIET)
    assert isinstance(network, Transferred)
    images, labels = train_cnn.pair(data.test)
    with torch.inference_mode():
        assert train_cnn.accuracy(network.eval()(images), labels) == 1.0
    fresh = Transferred(pretrained.load("efficientnet_lite0").body, 2, len(network.tail.blocks))
    assert weights_digest(network.frozen) == weights_digest(fresh.frozen)
    assert fitted.waiting is not None


def test_frozen_blocks_run_with_every_update_where_their_maps_do_not_fit(
    root: Path, data: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "MOST", 0)
    network, _ = train_cnn.train(asked(root, epochs=2), data, QUIET)
    assert isinstance(network, Transferred)
    assert not any(weights.requires_grad for weights in network.frozen.parameters())
    fresh = Transferred(pretrained.load("efficientnet_lite0").body, 2, 0)
    # Their batch norms, too: nothing was counted.
    assert weights_digest(network.frozen) == weights_digest(fresh.frozen)


def test_all_blocks_learn_where_all_are_tuned(root: Path, data: Pictures) -> None:
    network, _ = train_cnn.train(asked(root, tune="all", epochs=1), data, QUIET)
    assert isinstance(network, Transferred)
    fresh = Transferred(pretrained.load("efficientnet_lite0").body, 2, 18)
    pairs = zip(network.named_parameters(), fresh.parameters(), strict=True)
    same = [name for (name, ours), theirs in pairs if torch.equal(ours, theirs)]
    assert same == []
    for (name, ours), theirs in zip(network.named_buffers(), fresh.buffers(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_same_seed_gives_the_same_weights(root: Path, data: Pictures) -> None:
    one, other = (train_cnn.train(asked(root, epochs=2), data, QUIET)[0] for _ in range(2))
    assert weights_digest(one) == weights_digest(other)


def test_weights_that_cannot_be_downloaded_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(GlasslineError, match="resnet18: its weights cannot be downloaded") as no:
        pretrained.load("resnet18")
    assert f"{tmp_path}/hub/checkpoints, or take --pretrained efficientnet_lite0" in str(no.value)


def test_weights_that_are_there_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    theirs = torchvision.models.mobilenet_v3_small(weights=None)
    name = Path(torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.url).name
    file = tmp_path / "hub" / "checkpoints" / name
    file.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), file)
    found = pretrained.load("mobilenet_v3_small")
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.name == "torchvision mobilenet_v3_small IMAGENET1K_V1, ImageNet-1k"
    first = theirs.features[0][0].weight
    assert torch.equal(found.body.blocks[0][0].weight, first)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"color": "L"}, "--color: got L, but efficientnet_lite0 has learnt from RGB"),
        ({"size": 16}, "--size: got 16, wanted 32 to 1024 pixels for efficientnet_lite0"),
        ({"pretrained": "vgg"}, "--pretrained: got 'vgg', wanted one of efficientnet_lite0"),
        ({"pretrained": "", "arch": "alexnet", "size": 20}, "--size: got 20, wanted 32 to 1024"),
        ({"width": 0.5}, r"--width: got 0\.5, but efficientnet_lite0 has one width"),
        ({"pretrained": "", "width": 0.5}, r"--width: got 0\.5, but lenet5 has one width"),
        (
            {"pretrained": "", "tune": "all"},
            "--tune: got 'all', but lenet5 is trained from scratch",
        ),
        ({"options": dataclasses.replace(CNN, activation="tanh")}, "--activation: got tanh, but"),
    ],
)
def test_what_does_not_go_together_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongOption, match=message):
        Config(**{"pretrained": "efficientnet_lite0", **said})


def test_variants_are_drawn_for_each_picture() -> None:
    maps = torch.arange(12.0).view(3, 4, 1)
    torch.manual_seed(0)
    drawn = torch.stack([transfer._one_of(maps).flatten() for _ in range(100)])
    assert drawn.shape == (100, 3)
    for row in range(3):
        assert set(drawn[:, row].tolist()) == set(np.arange(4.0) + 4 * row)
