"""Autoencoders of pictures of any size: convolutions alone, the code is a map.

Trained on patches and run over whole boards: what is learnt of a patch holds wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.blocks import Pixels
from models.pictures import convolution


@dataclass(frozen=True, slots=True)
class BoardConfig:
    """Shape of a fully convolutional autoencoder.

    Attributes:
        channels: of the picture.
        widths: maps of each level; every level but the first halves the extent.
        fold: pixels of a side that are folded into channels first, so that the first level is
            as many times smaller than the picture and no pixel is lost.
        skips: whether each level of the encoder also goes to its level of the decoder. What
            comes out is then as sharp as what goes in, and only a network that was taught to
            repair (see `denoising`) does not simply copy.
        latent: length of the vector that a whole picture's code is summed up in.
    """

    channels: int = 1
    widths: tuple[int, ...] = (32, 48, 64, 64)
    fold: int = 4
    skips: bool = True
    latent: int = 64

    @property
    def multiple(self) -> int:
        """Extents of a picture are multiples of it."""
        return int(self.fold * 2 ** (len(self.widths) - 1))


class BoardAutoencoder(nn.Module):
    """A convolutional autoencoder over pictures of any size, with a map as code.

    Input (n, C, H, W) UINT8 or float, 0 to 255; H and W multiples of `config.multiple`.
    Output: the reconstruction (n, C, H, W) in [0, 1], and what the code is on average (n, latent).

    Source: Masci et al. 2011, "Stacked convolutional auto-encoders"; skips: Ronneberger et al.
    2015, arXiv:1505.04597; folding: Shi et al. 2016, arXiv:1609.05158.
    """

    def __init__(self, config: BoardConfig) -> None:
        super().__init__()
        self.config = config
        self.scaling = Pixels(1 / 255, 0.0)
        folded, widths = config.channels * config.fold**2, config.widths
        self.fold = nn.PixelUnshuffle(config.fold)
        self.first = _two(folded, widths[0])
        self.down = nn.ModuleList(
            _two(one, other, stride=2) for one, other in zip(widths, widths[1:], strict=False)
        )
        self.code = nn.Conv2d(widths[-1], config.latent, 1)
        self.middle = convolution(config.latent, widths[-1], 1, nn.ReLU)
        self.up = nn.ModuleList(
            convolution(deep + (shallow if config.skips else 0), shallow, 3, nn.ReLU)
            for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(widths[0], folded, 1)
        self.unfold = nn.PixelShuffle(config.fold)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        units = self.first(self.fold(self.scaling(image)))
        levels = [units]
        for down in self.down:
            levels.append(down(levels[-1]))
        code = self.code(levels[-1])
        units = self.middle(code)
        for up, level in zip(self.up, levels[-2::-1], strict=True):
            units = nn.functional.interpolate(units, scale_factor=2.0, mode="nearest")
            units = up(torch.cat([units, level], dim=1) if self.config.skips else units)
        return torch.sigmoid(self.unfold(self.last(units))), code.mean(dim=(2, 3))


def _two(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        convolution(channels, out, 3, nn.ReLU, stride), convolution(out, out, 3, nn.ReLU)
    )
