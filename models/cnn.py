"""Convolutional classifiers: the table of the family.

Every network takes raw pixels, 0 to 255, and scales them itself, so that training and
serving cannot disagree about preprocessing.
"""

from __future__ import annotations

from torch import nn

from models.alexnet import AlexNet
from models.blocks import Pixels, Probabilities
from models.inception import Inception
from models.lenet import LeNet5, LeNet5Config
from models.pictures import PictureConfig
from models.resnet import ResNet

__all__ = [
    "ARCHITECTURES",
    "AlexNet",
    "Inception",
    "LeNet5",
    "LeNet5Config",
    "PictureConfig",
    "Pixels",
    "Probabilities",
    "ResNet",
    "network_of",
]

#: Side of the picture where none is asked for, and the smallest that leaves something to see.
ARCHITECTURES: dict[str, tuple[int, int]] = {
    "lenet5": (32, 16),
    "alexnet": (64, 32),
    "inception": (64, 16),
    "resnet18": (64, 16),
    "resnet34": (64, 16),
}


def network_of(arch: str, config: PictureConfig) -> nn.Module:
    """The network of this name: (n, channels, size, size) to logits (n, classes).

    LeNet-5 scales pixels as its paper does and has one width.
    """
    if arch == "lenet5":
        return LeNet5(
            LeNet5Config(
                config.classes, config.activation, config.dropout, config.channels, config.size
            )
        )
    if arch == "alexnet":
        return AlexNet(config)
    if arch == "inception":
        return Inception(config)
    return ResNet(config, layers={"resnet18": 18, "resnet34": 34}[arch])
