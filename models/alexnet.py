"""AlexNet, for pictures smaller than ImageNet's."""

from __future__ import annotations

from torch import Tensor, nn

from models.blocks import ACTIVATIONS
from models.pictures import PictureConfig, maps


class AlexNet(nn.Module):
    """AlexNet: five convolutions, three overlapping pools, three affine layers with dropout.

    Input (n, channels, size, size), UINT8 or float, 0 to 255. Output (n, classes), logits.

    The maps are those of the second paper (64-192-384-256-256), of which the first, made for two
    GPUs, has some more. Adapted to `size`: the first convolution is 5 x 5 with the stride that
    leaves maps of 32 to 63 a side, where the paper goes from 224 to 55 with 11 x 11 and stride 4;
    the hidden affine layers have 1,024 units where the paper has 4,096, in the same proportion to
    what comes into them (2,304 values of 64 x 64 pixels, 9,216 of 224 x 224). No local response
    normalisation. `dropout` 0 means the paper's 0.5. For the network as published, with its
    weights, take torchvision's: `--pretrained alexnet`.

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep
    convolutional neural networks", NIPS; Krizhevsky 2014, arXiv:1404.5997.
    """

    def __init__(self, config: PictureConfig) -> None:
        super().__init__()
        active = ACTIVATIONS[config.activation]
        one, two, three, four, five = (maps(n, config.width) for n in (64, 192, 384, 256, 256))
        units, dropped = maps(1024, config.width), config.dropout or 0.5
        stride = max(1, config.size // 32)
        side = (config.size - 1) // stride + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        self.pixels = config.pixels()
        self.features = nn.Sequential(  # shapes for 64 x 64 pixels
            nn.Conv2d(
                config.channels, one, kernel_size=5, stride=stride, padding=2
            ),  # 64 x 32 x 32
            active(),
            nn.MaxPool2d(3, stride=2),  # 64 x 15 x 15
            nn.Conv2d(one, two, kernel_size=5, padding=2),
            active(),
            nn.MaxPool2d(3, stride=2),  # 192 x 7 x 7
            nn.Conv2d(two, three, kernel_size=3, padding=1),
            active(),
            nn.Conv2d(three, four, kernel_size=3, padding=1),
            active(),
            nn.Conv2d(four, five, kernel_size=3, padding=1),
            active(),
            nn.MaxPool2d(3, stride=2),  # 256 x 3 x 3
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropped),
            nn.Linear(five * side * side, units),
            active(),
            nn.Dropout(dropped),
            nn.Linear(units, units),
            active(),
            nn.Linear(units, config.classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.pixels(image)))
        return logits
