"""A release says whether its explanations hang on what the network has learnt."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from models.cnn import LeNet5
from service.store import ModelStore
from training.randomisation import SIMILAR, randomised


def test_a_trained_model_passes_and_its_card_says_so(home: Path) -> None:
    manifest = ModelStore(home).get("lenet-digits").manifest
    found = manifest.randomisation
    assert found is not None
    assert found.passed
    assert found.inputs >= 6
    assert -0.5 < found.similarity <= SIMILAR
    assert f"rank correlation of {found.similarity:.2f}" in manifest.card


def test_all_weights_are_fresh_and_the_same_for_a_seed() -> None:
    network = LeNet5()
    fresh, again = randomised(network, 1), randomised(network, 1)
    for (name, old), new, same in zip(
        network.named_parameters(), fresh.parameters(), again.parameters(), strict=True
    ):
        assert not torch.equal(old, new), name
        assert torch.equal(new, same), name


def test_weights_without_an_initialisation_are_shuffled() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.arange(100.0))

    fresh = randomised(Own(), 0)
    assert not torch.equal(fresh.scale, torch.arange(100.0))  # type: ignore[arg-type]
    assert torch.equal(fresh.scale.sort().values, torch.arange(100.0))  # type: ignore[operator, union-attr]


def test_the_network_itself_and_the_random_state_stay_as_they_were() -> None:
    network = LeNet5()
    before, state = [p.clone() for p in network.parameters()], torch.random.get_rng_state()
    randomised(network, 3)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
