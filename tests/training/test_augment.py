"""Augmentation moves pictures by amounts that can be worked out, and no further."""

from __future__ import annotations

import pytest
import torch

from training.augment import affine


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randint(0, 256, (16, 1, 32, 32), dtype=torch.uint8)


def test_nothing_to_do_changes_nothing(images: torch.Tensor) -> None:
    same = affine(images, degrees=0, zoom=0, shift=0)
    assert same.dtype == torch.float32
    torch.testing.assert_close(same, images.to(torch.float32), atol=1e-2, rtol=0)


def test_values_stay_pixels(images: torch.Tensor) -> None:
    moved = affine(images)
    assert moved.shape == images.shape
    assert moved.min() >= 0
    assert moved.max() <= 255.001
    assert not torch.equal(moved, images.to(torch.float32))


@pytest.mark.parametrize(
    ("amounts", "furthest"),  # pixels that the corner dot of a 32-pixel picture can move
    [
        ({"degrees": 0.0, "zoom": 0.0, "shift": 0.125}, 0.125 * 32 * 2**0.5),
        ({"degrees": 0.0, "zoom": 0.25, "shift": 0.0}, 0.25 * 8 * 2**0.5),
        ({"degrees": 30.0, "zoom": 0.0, "shift": 0.0}, 8 * 2**0.5 * 0.5177),  # chord of 30 deg
    ],
)
def test_a_dot_moves_no_further_than_asked(amounts: dict[str, float], furthest: float) -> None:
    torch.manual_seed(0)
    dot = torch.zeros(64, 1, 32, 32)
    dot[:, :, 23:25, 23:25] = 255  # centred 8 right of and 8 below the middle
    moved = affine(dot, **amounts).squeeze(1)
    axis = torch.arange(32) + 0.5
    mass = moved.sum(dim=(1, 2))
    x = (moved.sum(dim=1) * axis).sum(dim=1) / mass
    y = (moved.sum(dim=2) * axis).sum(dim=1) / mass
    distance = torch.hypot(x - 24, y - 24)
    assert distance.max() <= furthest + 0.05
    assert distance.max() > 0.7 * furthest
