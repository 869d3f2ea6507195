"""DCGAN: a generator of pictures and the discriminator that it learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

#: Side of the smallest maps: both networks begin or end with them.
SMALLEST = 4
#: Sides that a picture may have: 4, doubled at each layer.
SIZES = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class GanConfig:
    """Sizes of both networks.

    Attributes:
        noise: numbers that a picture is made from, each from N(0, 1).
        channels, size: of the picture; the size is one of `SIZES`.
        maps: of the layers with the largest maps; each smaller one has twice as many.
        classes: 0 = the generator is told nothing but its noise.
        spectral_norm: whether the discriminator's layers are held to a Lipschitz constant of 1,
            instead of having their batch normalised.
    """

    noise: int = 64
    channels: int = 1
    size: int = 32
    maps: int = 32
    classes: int = 0
    spectral_norm: bool = True

    @property
    def widths(self) -> tuple[int, ...]:
        """Maps of each layer, those with the smallest side first."""
        layers = (self.size // SMALLEST).bit_length() - 1
        return tuple(self.maps * 2**at for at in reversed(range(layers)))


class Generator(nn.Module):
    """Noise to pictures, by transposed convolutions that double the side.

    Input (n, noise), N(0, 1), and (n,) INT64 class numbers where it is conditional; output
    (n, channels, size, size) in [0, 1], 0 = black. The class comes as one-hot numbers beside the
    noise.
    Unlike the paper: half a tanh is moved to [0, 1], and there are as many layers as the side
    needs.
    Source: Radford, Metz and Chintala 2015, arXiv:1511.06434, sec. 3; of the class: Mirza and
    Osindero 2014, arXiv:1411.1784, sec. 3.2.
    """

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        self.register_buffer("classes", torch.arange(config.classes), persistent=False)
        self.classes: Tensor
        first, *others = config.widths
        layers: list[nn.Module] = [
            nn.Linear(config.noise + config.classes, first * SMALLEST**2, bias=False),
            nn.Unflatten(1, (first, SMALLEST, SMALLEST)),
            nn.BatchNorm2d(first),
            nn.ReLU(),
        ]
        before = first
        for maps in others:
            layers += [
                nn.ConvTranspose2d(before, maps, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(maps),
                nn.ReLU(),
            ]
            before = maps
        layers += [nn.ConvTranspose2d(before, config.channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_begin)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        if label is not None:
            told = label[:, None] == self.classes
            noise = torch.cat([noise, told.to(noise.dtype)], dim=1)
        picture: Tensor = self.layers(noise)
        return (picture + 1) / 2


class Discriminator(nn.Module):
    """Pictures to how real they look, by strided convolutions that halve the side.

    Input (n, channels, size, size) in [0, 1], and (n,) INT64 class numbers where it is
    conditional; output (n,) logits, above 0 = real. The class is told by the inner product of its
    embedding with the last features.
    Source: Radford, Metz and Chintala 2015, arXiv:1511.06434, sec. 3; spectral norm: Miyato et
    al. 2018, arXiv:1802.05957; the class: Miyato and Koyama 2018, arXiv:1802.05637.
    """

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        held = spectral_norm if config.spectral_norm else _free
        layers: list[nn.Module] = []
        before = config.channels
        for at, maps in enumerate(reversed(config.widths)):
            layers.append(held(_begun(nn.Conv2d(before, maps, 4, stride=2, padding=1))))
            # The paper leaves the first layer of the discriminator without.
            if at and not config.spectral_norm:
                layers.append(_begun(nn.BatchNorm2d(maps)))
            layers.append(nn.LeakyReLU(0.2))
            before = maps
        self.layers = nn.Sequential(*layers, nn.Flatten())
        features = before * SMALLEST**2
        self.real = held(_begun(nn.Linear(features, 1)))
        self.of_class = (
            held(_begun(nn.Embedding(config.classes, features))) if config.classes else None
        )

    def forward(self, picture: Tensor, label: Tensor | None = None) -> Tensor:
        features = self.layers(picture * 2 - 1)
        logits: Tensor = self.real(features).squeeze(1)
        if self.of_class is not None:
            logits = logits + (self.of_class(label) * features).sum(dim=1)
        return logits


def _free(layer: nn.Module) -> nn.Module:
    return layer


def _begun(layer: nn.Module) -> nn.Module:
    _begin(layer)
    return layer


def _begin(layer: nn.Module) -> None:
    """Weights as the paper has them: N(0, 0.02), gains around 1; no bias."""
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        bias = getattr(layer, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)
