"""What a denoising autoencoder is taught to undo: rows spoiled in ways that are not normal.

Everything here is made up; no row with a real anomaly is ever looked at. Random numbers come
from torch's global generator.
Source: Vincent et al. 2010, "Stacked denoising autoencoders"; drawing defects into normal
pictures: Zavrtanik et al. 2021, arXiv:2108.07610.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Side of a drawn stroke's picture, in pixels, and how many are drawn beforehand.
CANVAS, DRAWN = 64, 512
#: Strokes in a patch, at most; each is there with this chance. Patches left as they are.
MOST, CHANCE, CLEAN = 4, 0.6, 0.1


def noisy(images: Tensor, deviation: float = 32.0, block: float = 0.25) -> Tensor:
    """Pictures with noise, and a block of each grey.

    Args:
        images: (n, C, H, W), UINT8 or float, 0 to 255.
        deviation: of Gaussian noise, in grey levels.
        block: side of the block as a share of the picture's.

    Returns:
        (n, C, H, W) FP32, 0 to 255.
    """
    pixels = images.to(torch.float32)
    spoiled = pixels + deviation * torch.randn_like(pixels)
    height, width = images.shape[-2:]
    inside = [_stretch(len(images), extent, block) for extent in (height, width)]
    hidden = (inside[0][:, :, None] & inside[1][:, None, :]).unsqueeze(1)
    return torch.where(hidden, torch.full_like(pixels, 127.5), spoiled).clamp(0, 255)


def dropped_out(
    windows: Tensor, shift: Tensor, scale: Tensor, noise: float = 0.1, share: float = 0.25
) -> Tensor:
    """Windows with noise, and a stretch of one channel of each at its mean.

    Args:
        windows: (n, T, C).
        shift, scale: (C,) of the channels.
        noise: deviation, in units of `scale`.
        share: of the steps that the stretch takes.

    Returns:
        (n, T, C) FP32.
    """
    n, steps, channels = windows.shape
    spoiled = windows + noise * scale * torch.randn_like(windows)
    which = torch.randint(channels, (n, 1)) == torch.arange(channels)
    hidden = _stretch(n, steps, share).unsqueeze(2) & which.unsqueeze(1)
    return torch.where(hidden, shift.expand_as(spoiled), spoiled)


def _stretch(n: int, extent: int, share: float) -> Tensor:
    """(n, extent), true over one stretch of each row."""
    long = max(1, round(share * extent))
    start = torch.randint(extent - long + 1, (n, 1))
    at = torch.arange(extent)
    return (at >= start) & (at < start + long)


class Strokes:
    """Draws strokes, blobs and gaps into patches of two tones, as defects of boards look.

    A stroke is a crooked line with rough edges, 3 to 12 pixels wide. Most begin where two tones
    meet and have the tone that is not there: gaps, shorts, spurs, bites, holes, islands.

    Args:
        size: of strokes: 1 = for boards of 48 pixels a millimetre.
    """

    def __init__(self, size: float = 1.0) -> None:
        self.shapes = _drawn(DRAWN, size)

    def __call__(self, images: Tensor) -> Tensor:
        """(n, 1, H, W) UINT8, of two tones, with strokes of the one or the other."""
        spoiled = images.clone()
        n, _, height, width = images.shape
        light = images[:, 0] > 127
        near = nn.functional.avg_pool2d(
            light.unsqueeze(1).float(), 5, 1, 2, count_include_pad=False
        )
        edge = ((near > 0.01) & (near < 0.99)).flatten(1).float()
        # Half of the patches are spoiled at edges, the others anywhere.
        anywhere = 2e-4 + (torch.rand(n, 1) < 0.5).float()
        places = torch.multinomial(edge + anywhere, MOST)
        there = (torch.rand(n, MOST) < CHANCE) & (torch.rand(n, 1) >= CLEAN)
        which = torch.randint(len(self.shapes), (n, MOST))
        other = torch.rand(n, MOST) < 0.8
        for row, at in there.nonzero().tolist():
            y, x = divmod(int(places[row, at]), width)
            tone = 255 if bool(light[row, y, x]) ^ bool(other[row, at]) else 0
            _paste(spoiled[row, 0], self.shapes[which[row, at]], y, x, tone)
        return spoiled


def _paste(picture: Tensor, shape: Tensor, y: int, x: int, tone: int) -> None:
    """Paint a shape with its middle at (y, x); what lies outside of the picture is cut off."""
    height, width = picture.shape
    top, left = y - CANVAS // 2, x - CANVAS // 2
    rows = slice(max(0, top), min(height, top + CANVAS))
    columns = slice(max(0, left), min(width, left + CANVAS))
    cut = shape[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    picture[rows, columns][cut] = tone


def _drawn(count: int, size: float) -> Tensor:
    """Strokes (count, CANVAS, CANVAS), true where they are; each passes near the middle."""
    turns = torch.rand(count, 1) * 2 * math.pi + torch.cumsum(torch.randn(count, 3) * 0.9, 1)
    # None is round: small round pads and holes are what boards are made of.
    lengths = size * (2 + torch.rand(count, 1).square() * 13 + torch.rand(count, 3) * 3)
    steps = torch.stack([turns.sin(), turns.cos()], 2) * lengths.unsqueeze(2)
    points = nn.functional.pad(torch.cumsum(steps, 1), (0, 0, 1, 0))
    points = points - points.mean(1, keepdim=True) * torch.rand(count, 1, 1) + CANVAS / 2
    radii = size * (1.3 + torch.rand(count, 1, 1).pow(1.5) * 4.5)
    at = torch.arange(CANVAS, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(at, at, indexing="ij"), 2)
    nearest = torch.full((count, CANVAS, CANVAS), math.inf)
    for one, other in zip(points.unbind(1), points[:, 1:].unbind(1), strict=False):
        along = (other - one)[:, None, None]
        apart = grid - one[:, None, None]
        share = (apart * along).sum(3) / along.square().sum(3).clamp_min(1e-6)
        foot = apart - share.clamp(0, 1).unsqueeze(3) * along
        nearest = torch.minimum(nearest, foot.square().sum(3).sqrt())
    rough = torch.randn(count, 1, CANVAS // 4, CANVAS // 4) * 0.9
    rough = nn.functional.interpolate(rough, size=CANVAS, mode="bilinear").squeeze(1)
    return nearest + rough < radii
