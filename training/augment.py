"""Random but plausible variants of training pictures, made on whole batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
