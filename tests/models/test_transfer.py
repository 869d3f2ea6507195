"""A pretrained network keeps what it was, learns at the rates that were asked, and no more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from models.transfer import Body, Transferred
from training import imagenet, pretrained
from training.torchvision_import import torchvision


def small(tuned: int, norms: bool = False) -> Transferred:
    torch.manual_seed(0)
    blocks = tuple(
        nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(3)
    )
    body = Body(nn.Identity(), blocks, pretrained.pooled(), 3)
    return Transferred(body, 2, tuned, dropout=0.5, norms=norms)


@pytest.mark.parametrize("name", [name for name in pretrained.BODIES if name[-1] != "0"])
def test_the_blocks_are_the_whole_network_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    extra: dict[str, Any] = {"init_weights": False} if name == "googlenet" else {}
    theirs = torchvision.models.get_model(name, weights=None, **extra).eval()
    last = [one for one in theirs.modules() if isinstance(one, nn.Linear)]
    if name == "googlenet":
        last = [theirs.fc]
    body = pretrained.BODIES[name](theirs)
    assert body.features == last[-1].in_features
    ours = Transferred(body, last[-1].out_features, 0).eval()
    ours.tail.head[1] = last[-1]
    image = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    mean, deviation = torch.tensor([pretrained.MEAN, pretrained.DEVIATION]).view(2, 3, 1, 1)
    with torch.inference_mode():
        wanted = theirs((image / 255 - mean) / deviation)
        torch.testing.assert_close(ours(image), wanted, atol=1e-4, rtol=1e-3)


def test_the_blocks_are_the_whole_bundled_network() -> None:
    theirs = imagenet.pretrained()
    ours = Transferred(pretrained.load("efficientnet_lite0").body, 1000, 3).eval()
    ours.tail.head[1] = theirs.network._fc
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=1e-3)


def test_frozen_blocks_have_no_gradient_and_norms_keep_their_statistics() -> None:
    network = small(tuned=2).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([w for w in network.parameters() if w.requires_grad], 0.1)
    network(torch.rand(8, 3, 6, 6)).square().mean().backward()
    optimizer.step()
    changed = {
        n for n, tensor in network.state_dict().items() if not torch.equal(tensor, before[n])
    }
    assert not {name for name in changed if name.startswith("frozen") or "running" in name}
    assert {"tail.blocks.0.0.weight", "tail.blocks.1.1.weight", "tail.head.1.weight"} <= changed


def test_norms_take_new_statistics_where_they_are_to() -> None:
    network = small(tuned=3, norms=True).train()
    network(torch.rand(8, 3, 6, 6))
    assert network.state_dict()["tail.blocks.0.1.num_batches_tracked"] == 1


def test_rates_fall_from_the_last_layer_to_the_first_block() -> None:
    rates = small(tuned=3).tail.rates(0.5)
    found = {name.rpartition(".")[0]: rate for name, rate in rates.items()}
    # By hand: 1, then 1/2, 1/4, 1/8.
    assert found["head.1"] == 1.0
    assert [found[f"blocks.{at}.0"] for at in (2, 1, 0)] == [0.5, 0.25, 0.125]


def test_the_maps_of_frozen_blocks_are_what_the_tail_takes() -> None:
    network = small(tuned=1).eval()
    image = torch.rand(2, 3, 6, 6)
    assert torch.equal(network.tail(network.maps(image)), network(image))
