"""Random but plausible variants of training pictures, made on whole batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

#: How training pictures are varied: not at all; turned, scaled and moved a little; moved and
#: mirrored left to right; moved and laid in any of the eight ways a square can lie.
Variation = Literal["none", "affine", "crop-flip", "turns"]
Images = TypeVar("Images", Tensor, NDArray[np.uint8])


def affine(
    images: Tensor, degrees: float = 12.0, zoom: float = 0.12, shift: float = 0.08
) -> Tensor:
    """Turn, scale and move each picture of a batch by its own random amount.

    Args:
        images: (n, C, H, W), UINT8 or float, 0 to 255; what is moved in from outside is 0.
        degrees: largest rotation to either side.
        zoom: largest relative change of size; 0.1 = between 90 % and 110 %.
        shift: largest move along each axis, as a part of the picture's extent.

    Returns:
        (n, C, H, W) FP32, 0 to 255. Random numbers come from torch's global generator.
    """
    n = len(images)

    def uniform(largest: float) -> Tensor:
        return (torch.rand(n, device=images.device) * 2 - 1) * largest

    turn, scale = torch.deg2rad(uniform(degrees)), 1 / (1 + uniform(zoom))
    cosine, sine = torch.cos(turn) * scale, torch.sin(turn) * scale
    # affine_grid counts the picture's extent from -1 to 1, hence twice the shift.
    across, down = uniform(2 * shift), uniform(2 * shift)
    theta = torch.stack([cosine, -sine, across, sine, cosine, down], dim=1).view(n, 2, 3)
    pixels = images.to(torch.float32)
    grid = nn.functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return nn.functional.grid_sample(pixels, grid, align_corners=False)


def cropped(images: Tensor, size: int) -> Tensor:
    """A square out of each picture of a batch, at a random place of its own.

    Args:
        images: (n, C, H, W) with H and W of at least `size`.
        size: side of the square, in pixels.

    Returns:
        (n, C, size, size), of the same type.
    """
    room = [extent - size + 1 for extent in images.shape[-2:]]
    tops, lefts = (torch.randint(one, (len(images),)).tolist() for one in room)
    squares = [
        image[:, top : top + size, left : left + size]
        for image, top, left in zip(images, tops, lefts, strict=True)
    ]
    return torch.stack(squares)


def centred(images: Images, size: int) -> Images:
    """The middle of each picture: (n, C, H, W) to (n, C, size, size), of the same type."""
    top, left = ((extent - size) // 2 for extent in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def crop_flip(images: Tensor, size: int) -> Tensor:
    """Each picture moved by up to an eighth, and mirrored left to right every other time.

    Pictures of `size` are continued beyond their edges by their mirror image; larger ones have
    the room that they have.

    Args:
        images: (n, C, S, S), UINT8 or float.
        size: side of what comes out, at most S.

    Returns:
        (n, C, size, size) FP32.

    Source: Krizhevsky, Sutskever and Hinton 2012, sec. 4.1, where 224 pixels are cut out of 256.
    """
    pixels = images.to(torch.float32)
    if pixels.shape[-1] == size:
        pixels = nn.functional.pad(pixels, (max(1, size // 16),) * 4, mode="reflect")
    pixels = cropped(pixels, size)
    mirrored = torch.rand(len(pixels), device=pixels.device).view(-1, 1, 1, 1) < 0.5
    return torch.where(mirrored, pixels.flip(-1), pixels)


def turns(images: Tensor, size: int) -> Tensor:
    """Each picture in one of the eight ways a square can lie, cut out at a random place.

    For what has no upright: boards, parts on a belt, cells.

    Args:
        images: (n, C, S, S), UINT8 or float.
        size: side of what comes out, at most S.

    Returns:
        (n, C, size, size) FP32.
    """
    pixels = cropped(images, size).to(torch.float32)
    ways = torch.randint(8, (len(pixels),), device=pixels.device).view(-1, 1, 1, 1)
    pixels = torch.where(ways % 2 == 1, pixels.flip(-1), pixels)
    pixels = torch.where(ways // 2 % 2 == 1, pixels.flip(-2), pixels)
    return torch.where(ways // 4 == 1, pixels.transpose(-1, -2), pixels)


def variation_of(name: Variation, size: int) -> Callable[[Tensor], Tensor]:
    """What training does to a batch of pictures before the network sees it.

    Args:
        name: none, affine, crop-flip or turns.
        size: side of what comes out, at most that of what goes in.
    """
    if name == "crop-flip":
        return lambda images: crop_flip(images, size)
    if name == "turns":
        return lambda images: turns(images, size)
    if name == "affine":
        return lambda images: affine(cropped(images, size))
    return lambda images: centred(images, size)
