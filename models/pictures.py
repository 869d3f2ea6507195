"""What the deeper networks on pictures share: their size, their scaling, their first layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from models.blocks import Pixels


@dataclass(frozen=True, slots=True)
class PictureConfig:
    """Size of the picture, of the network and of the answer.

    Attributes:
        classes: number of logits.
        channels, size: of the picture: (n, channels, size, size).
        width: share of the maps of each layer; 1 = those of the paper.
        activation: between the layers, a name of `ACTIVATIONS`.
        dropout: share of the units before the last layer that an update leaves out.
        gain, offset: of each channel: the network sees pixel * gain + offset.
    """

    classes: int
    channels: int = 3
    size: int = 64
    width: float = 1.0
    activation: str = "relu"
    dropout: float = 0.0
    gain: tuple[float, ...] = (1 / 64,)
    offset: tuple[float, ...] = (-2.0,)

    def pixels(self) -> Pixels:
        """The scaling that goes into the graph."""
        return Pixels(self.gain, self.offset)


def maps(count: int, width: float) -> int:
    """So many maps at this width; at least 4."""
    return max(4, round(count * width))


def convolution(
    channels: int, out: int, kernel: int, active: type[nn.Module], stride: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, activation; (n, channels, H, W) to `out`.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        active(),
    )


def classifier(channels: int, config: PictureConfig) -> nn.Sequential:
    """Logits from the mean of each map; (n, channels, H, W) to (n, classes).

    Source: Lin, Chen and Yan 2014, "Network in network", arXiv:1312.4400, sec. 3.2.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(config.dropout),
        nn.Linear(channels, config.classes),
    )
