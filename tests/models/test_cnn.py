"""LeNet-5 has the sizes of the paper and scales its own pixels."""

from __future__ import annotations

import pytest
import torch

from models.cnn import LeNet5, LeNet5Config, Pixels, Probabilities


@pytest.mark.parametrize(
    ("layer", "parameters"),  # weights + biases, by hand
    [
        ("features.0", 6 * 1 * 25 + 6),
        ("features.3", 16 * 6 * 25 + 16),
        ("classifier.1", 400 * 120 + 120),
        ("classifier.3", 120 * 84 + 84),
        ("classifier.5", 84 * 10 + 10),
    ],
)
def test_every_layer_has_the_parameters_worked_by_hand(layer: str, parameters: int) -> None:
    found = LeNet5().get_submodule(layer)
    assert sum(p.numel() for p in found.parameters()) == parameters


def test_lenet5_has_61706_parameters() -> None:
    assert sum(p.numel() for p in LeNet5().parameters()) == 61_706


def test_the_number_of_classes_is_free() -> None:
    assert LeNet5(LeNet5Config(classes=3))(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_bytes_and_floats_of_the_same_pixels_give_the_same_logits() -> None:
    torch.manual_seed(0)
    network = LeNet5().eval()
    image = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(network(image), network(image.to(torch.float32)))


@pytest.mark.parametrize(
    ("pixel", "unit"),
    [(0, -0.1), (255, 1.175), (51, 0.155)],  # LeCun et al. 1998, sec. II.B
)
def test_lenet5_sees_the_pixel_range_of_the_paper(pixel: int, unit: float) -> None:
    seen = LeNet5().pixels(torch.full((1, 1, 1, 1), pixel, dtype=torch.uint8))
    assert seen.dtype == torch.float32
    assert seen.item() == pytest.approx(unit, abs=1e-6)


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    class TwoLogits(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return Pixels(1.0, 0.0)(image).flatten(1)

    image = torch.tensor([[[[0, 0]]], [[[1, 0]]]], dtype=torch.uint8)
    found = Probabilities(TwoLogits())(image)
    # By hand: softmax(0, 0) and softmax(1, 0) = e / (1 + e).
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [0.7310586, 0.2689414]]))
