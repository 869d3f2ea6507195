"""A small Inception."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import ACTIVATIONS
from models.pictures import PictureConfig, classifier, convolution, maps


class Branches(NamedTuple):
    """Maps of each branch of a module; those of `reduce` are what 3 x 3 and 5 x 5 look at."""

    one: int
    reduce_three: int
    three: int
    reduce_five: int
    five: int
    pool: int


#: Table 1 of the paper, rows 3a, 3b, 4a and 4e, all counts halved.
MODULES = (
    Branches(32, 48, 64, 8, 16, 16),
    Branches(64, 64, 96, 16, 48, 32),
    Branches(96, 48, 104, 8, 24, 32),
    Branches(128, 80, 160, 16, 64, 64),
)


class Module(nn.Module):
    """One module: four branches side by side, their maps concatenated.

    Input (n, channels, H, W). Output (n, one + three + five + pool, H, W).
    """

    def __init__(self, channels: int, branches: Branches, active: type[nn.Module]) -> None:
        super().__init__()
        self.one = convolution(channels, branches.one, 1, active)
        self.three = nn.Sequential(
            convolution(channels, branches.reduce_three, 1, active),
            convolution(branches.reduce_three, branches.three, 3, active),
        )
        self.five = nn.Sequential(
            convolution(channels, branches.reduce_five, 1, active),
            convolution(branches.reduce_five, branches.five, 5, active),
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), convolution(channels, branches.pool, 1, active)
        )
        self.out = branches.one + branches.three + branches.five + branches.pool

    def forward(self, seen: Tensor) -> Tensor:
        return torch.cat([self.one(seen), self.three(seen), self.five(seen), self.pool(seen)], 1)


class Inception(nn.Module):
    """A small GoogLeNet: a stem, two modules, a pool, two modules, the mean over each map.

    Input (n, channels, size, size), UINT8 or float, 0 to 255. Output (n, classes), logits.

    Four of the paper's nine modules at half its maps, with batch normalisation and without the
    auxiliary classifiers. The stem leaves maps of 16 to 32 a side. For
    the network as published, with its weights, take torchvision's: `--pretrained googlenet`.

    Source: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842, fig. 2b and
    table 1; Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        active = ACTIVATIONS[config.activation]
        channels, stem = maps(32, config.width), maps(96, config.width)
        self.pixels = config.pixels()
        self.stem = nn.Sequential(  # shapes for 64 x 64 pixels
            convolution(config.channels, channels, 3, active, max(1, config.size // 32)),  # 32 x 32
            nn.MaxPool2d(3, stride=2, padding=1),  # 32 x 16 x 16
            convolution(channels, stem, 3, active),  # 96 x 16 x 16
        )
        modules: list[nn.Module] = []
        channels = stem
        for at, branches in enumerate(MODULES):
            if at == 2:
                modules.append(nn.MaxPool2d(3, stride=2, padding=1))  # 240 x 8 x 8
            narrowed = Branches(*(maps(count, config.width) for count in branches))
            module = Module(channels, narrowed, active)
            modules.append(module)
            channels = module.out
        self.features = nn.Sequential(*modules)
        self.classifier = classifier(channels, config)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.stem(self.pixels(image))))
        return logits
