"""Augmentation moves pictures by amounts that can be worked out, and no further."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.augment import Variation, affine, crop_flip, cropped, turns, variation_of


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


def test_a_crop_is_a_square_of_its_picture_at_a_place_of_its_own() -> None:
    torch.manual_seed(0)
    rows = torch.arange(40).view(-1, 1).expand(40, 40)
    images = torch.stack([rows + 50, rows.T + 50]).repeat(32, 1, 1, 1).transpose(0, 1)
    images = images.reshape(64, 1, 40, 40)
    found = cropped(images, 32)
    assert found.shape == (64, 1, 32, 32)
    # Of a picture of its own rows the first pixel says where the square begins: 0 to 8.
    starts = set((found[:32, 0, 0, 0] - 50).tolist())
    assert starts <= set(range(9))
    assert len(starts) > 5


def test_crops_are_moved_and_mirrored_every_other_time(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    still = crop_flip(images[:1].repeat(200, 1, 1, 1), 32)
    assert still.shape == (200, 1, 32, 32)
    same = torch.nn.functional.pad(images[:1].float(), (2, 2, 2, 2), mode="reflect")
    squares = {same[0, 0, y : y + 32, x : x + 32].numpy().tobytes()
               for y in range(5) for x in range(5)}  # fmt: skip
    upright = [one.numpy().tobytes() in squares for one in still[:, 0]]
    mirrored = [one.contiguous().numpy().tobytes() in squares for one in still[:, 0].flip(-1)]
    assert all(a != b for a, b in zip(upright, mirrored, strict=True))
    assert 60 < sum(mirrored) < 140  # of 200, half of them by chance


def test_turns_are_the_eight_ways_a_square_can_lie() -> None:
    torch.manual_seed(0)
    square = torch.arange(9.0).view(1, 1, 3, 3)
    found = {tuple(one.flatten().tolist()) for one in turns(square.repeat(200, 1, 1, 1), 3)}
    wanted = {
        tuple(np.rot90(way, quarter).flatten().tolist())
        for way in (square[0, 0].numpy(), square[0, 0].numpy().T)
        for quarter in range(4)
    }
    assert found == wanted


@pytest.mark.parametrize("name", ["none", "affine", "crop-flip", "turns"])
def test_every_variation_gives_the_size_that_was_asked_for(
    name: Variation, images: torch.Tensor
) -> None:
    assert variation_of(name, 28)(images).shape == (16, 1, 28, 28)
    assert variation_of(name, 32)(images).shape == (16, 1, 32, 32)


def test_no_variation_is_the_centre(images: torch.Tensor) -> None:
    assert torch.equal(variation_of("none", 28)(images), images[..., 2:30, 2:30])
    assert torch.equal(variation_of("none", 32)(images), images)
