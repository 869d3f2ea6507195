"""Residual networks of 18 and 34 layers."""

from __future__ import annotations

from torch import Tensor, nn

from models.blocks import ACTIVATIONS
from models.pictures import PictureConfig, classifier, convolution, maps

#: Blocks in each of the four stages, by number of layers.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
#: From this side on the first layers are the paper's; smaller pictures would lose too much.
LARGE = 96


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut past both.

    The shortcut is the identity; where the block halves the picture or changes the number of
    maps it is a 1 x 1 convolution (option B of the paper).

    Input (n, channels, H, W). Output (n, out, H / stride, W / stride).
    """

    def __init__(self, channels: int, out: int, stride: int, active: type[nn.Module]) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            convolution(channels, out, 3, active, stride),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )
        self.active = active()
        # Each block begins as its shortcut: Goyal et al. 2017, arXiv:1706.02677, sec. 5.1.
        nn.init.zeros_(self.residual[-1].weight)  # type: ignore[arg-type]

    def forward(self, seen: Tensor) -> Tensor:
        added: Tensor = self.active(self.residual(seen) + self.shortcut(seen))
        return added


class ResNet(nn.Module):
    """ResNet-18 or ResNet-34.

    Input (n, channels, size, size), UINT8 or float, 0 to 255. Output (n, classes), logits.

    Four stages of 64, 128, 256 and 512 maps. From 96 pixels a side on the first layers are the
    paper's 7 x 7 with stride 2 and a pool, and 18 layers with three channels and 1,000 classes
    have torchvision's 11,689,512 parameters. Below that it is one 3 x 3 convolution, as the paper
    has for CIFAR-10, with a stride that leaves maps of 32 to 63 a side.

    Args:
        config: `width` narrows all stages alike.
        layers: 18 or 34.

    Source: He et al. 2015, "Deep residual learning for image recognition", arXiv:1512.03385,
    table 1, fig. 5 left, sec. 4.2.
    """

    def __init__(self, config: PictureConfig, layers: int = 18) -> None:
        super().__init__()
        active = ACTIVATIONS[config.activation]
        channels = maps(64, config.width)
        self.pixels = config.pixels()
        if config.size >= LARGE:
            self.stem = convolution(config.channels, channels, 7, active, stride=2)
            self.stem.append(nn.MaxPool2d(3, stride=2, padding=1))
        else:
            self.stem = convolution(config.channels, channels, 3, active, max(1, config.size // 32))
        stages = []
        for at, count in enumerate(BLOCKS[layers]):
            out = maps(64 * 2**at, config.width)
            for block in range(count):
                stride = 2 if at and not block else 1
                stages.append(Block(channels, out, stride, active))
                channels = out
        self.features = nn.Sequential(*stages)
        self.classifier = classifier(channels, config)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.stem(self.pixels(image))))
        return logits
