"""Convolutional networks have the sizes of their papers, scale their own pixels, and learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.cnn import (
    ARCHITECTURES,
    LeNet5,
    LeNet5Config,
    PictureConfig,
    Pixels,
    Probabilities,
    network_of,
)
from models.inception import MODULES, Branches, Module
from models.resnet import Block
from training.torchvision_import import torchvision


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def network(arch: str, **shape: float) -> nn.Module:
    return network_of(arch, PictureConfig(**shape))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "count"),  # weights + biases, by hand
    [
        ("features.0", 6 * 1 * 25 + 6),
        ("features.3", 16 * 6 * 25 + 16),
        ("classifier.1", 400 * 120 + 120),
        ("classifier.3", 120 * 84 + 84),
        ("classifier.5", 84 * 10 + 10),
    ],
)
def test_every_layer_has_the_parameters_worked_by_hand(layer: str, count: int) -> None:
    assert parameters(LeNet5().get_submodule(layer)) == count


def test_lenet5_has_61706_parameters() -> None:
    assert parameters(LeNet5()) == 61_706


def test_the_number_of_classes_is_free() -> None:
    assert LeNet5(LeNet5Config(classes=3))(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_bytes_and_floats_of_the_same_pixels_give_the_same_logits() -> None:
    torch.manual_seed(0)
    lenet = LeNet5().eval()
    image = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(lenet(image), lenet(image.to(torch.float32)))


@pytest.mark.parametrize(
    ("pixel", "unit"),
    [(0, -0.1), (255, 1.175), (51, 0.155)],  # LeCun et al. 1998, sec. II.B
)
def test_lenet5_sees_the_pixel_range_of_the_paper(pixel: int, unit: float) -> None:
    seen = LeNet5().pixels(torch.full((1, 1, 1, 1), pixel, dtype=torch.uint8))
    assert seen.dtype == torch.float32
    assert seen.item() == pytest.approx(unit, abs=1e-6)


def test_each_channel_has_its_own_scaling_which_is_not_learnt() -> None:
    scaling = Pixels((0.5, 1.0, 2.0), (-1.0, 0.0, 1.0))
    seen = scaling(torch.full((1, 3, 1, 1), 4, dtype=torch.uint8))
    assert seen.flatten().tolist() == [1.0, 4.0, 9.0]  # by hand
    assert not scaling.state_dict()


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    class TwoLogits(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return Pixels(1.0, 0.0)(image).flatten(1)

    image = torch.tensor([[[[0, 0]]], [[[1, 0]]]], dtype=torch.uint8)
    found = Probabilities(TwoLogits())(image)
    # By hand: softmax(0, 0) and softmax(1, 0) = e / (1 + e).
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [0.7310586, 0.2689414]]))


@pytest.mark.parametrize(
    ("arch", "shape", "count"),
    [
        # He et al. 2015 with the first layer of their CIFAR networks, and as torchvision has it.
        ("resnet18", {"classes": 10, "channels": 3, "size": 32}, 11_173_962),
        ("resnet18", {"classes": 1000, "channels": 3, "size": 224}, 11_689_512),
        ("resnet34", {"classes": 1000, "channels": 3, "size": 224}, 21_797_672),
        # Convolutions 64-192-384-256-256, then 2,304-1,024-1,024-6; weights + biases, by hand.
        (
            "alexnet",
            {"classes": 6, "channels": 1, "size": 64},
            (25 * 64 + 64)
            + (25 * 64 * 192 + 192)
            + (9 * 192 * 384 + 384)
            + (9 * 384 * 256 + 256)
            + (9 * 256 * 256 + 256)
            + (2304 * 1024 + 1024)
            + (1024 * 1024 + 1024)
            + (1024 * 6 + 6),
        ),
        ("inception", {"classes": 6, "channels": 1, "size": 64}, 479_622),
        ("lenet5", {"classes": 10, "channels": 1, "size": 32}, 61_706),
    ],
)
def test_parameters_are_those_of_the_paper(arch: str, shape: dict[str, float], count: int) -> None:
    assert parameters(network(arch, **shape)) == count


def test_resnet18_answers_as_torchvisions_does_with_the_same_weights() -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.resnet18(weights=None).eval()
    ours = network("resnet18", classes=1000, channels=3, size=96, gain=(1.0,), offset=(0.0,))
    # Layers come in the same order under other names.
    weights = zip(ours.state_dict(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict(dict(weights))
    image = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(image), theirs(image), atol=1e-4, rtol=1e-4)


def test_a_module_concatenates_its_four_branches() -> None:
    torch.manual_seed(0)
    module = Module(5, Branches(2, 3, 4, 2, 3, 1), nn.ReLU).eval()
    seen = torch.rand(2, 5, 6, 6)
    branches = [module.one(seen), module.three(seen), module.five(seen), module.pool(seen)]
    assert [maps.shape[1] for maps in branches] == [2, 4, 3, 1]
    assert torch.equal(module(seen), torch.cat(branches, dim=1))
    # 3a, 3b, 4a and 4e of the paper's table give 256, 480, 512 and 832 maps.
    halves = [b.one + b.three + b.five + b.pool for b in MODULES]
    assert [2 * half for half in halves] == [256, 480, 512, 832]


def test_a_block_is_its_shortcut_until_it_learns() -> None:
    block = Block(4, 4, 1, nn.ReLU).eval()
    seen = torch.rand(2, 4, 5, 5)
    assert isinstance(block.shortcut, nn.Identity)
    assert torch.equal(block(seen), seen)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 47), (1, 100)])
def test_any_size_and_colour_gives_one_logit_a_class(arch: str, channels: int, size: int) -> None:
    sized = network(arch, classes=7, channels=channels, size=size, width=0.1).eval()
    image = torch.zeros(2, channels, size, size, dtype=torch.uint8)
    with torch.inference_mode():
        assert sized(image).shape == (2, 7)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_each_learns_bars_that_lie_from_bars_that_stand(arch: str) -> None:
    torch.manual_seed(0)
    image = torch.zeros(24, 1, 32, 32)
    for row, at in enumerate(torch.randint(4, 26, (24,)).tolist()):
        image[row, 0, at : at + 3] = 255.0
    truth = torch.arange(24) % 2
    image[1::2] = image[1::2].transpose(2, 3)
    learner = network(
        arch, classes=2, channels=1, size=32, width=0.1, gain=(1 / 64,), offset=(0.0,)
    )
    optimizer = torch.optim.Adam(learner.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, 40)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(learner(image), truth).backward()
        optimizer.step()
        cycle.step()
    with torch.inference_mode():
        assert (learner.eval()(image).argmax(dim=1) == truth).float().mean() == 1.0
