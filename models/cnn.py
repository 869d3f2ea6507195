"""Convolutional classifiers.

Every network takes raw pixels, 0 to 255, and scales them itself, so that training and
serving cannot disagree about preprocessing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.blocks import ACTIVATIONS


@dataclass(frozen=True, slots=True)
class LeNet5Config:
    """Size of the answer, and what is between the layers; the rest is fixed by the paper."""

    classes: int = 10
    activation: str = "relu"
    dropout: float = 0.0


class Pixels(nn.Module):
    """Raw pixels to network units: `value * gain + offset`, in FP32.

    Input (n, C, H, W), UINT8 or float, 0 to 255. Output the same shape, FP32.
    """

    def __init__(self, gain: float, offset: float) -> None:
        super().__init__()
        self.gain = gain
        self.offset = offset

    def forward(self, image: Tensor) -> Tensor:
        return image.to(torch.float32) * self.gain + self.offset


class Probabilities(nn.Module):
    """A network that gives logits (n, classes), as the service wants it: softmax included."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network(image), dim=-1)


class LeNet5(nn.Module):
    """LeNet-5 on 32 x 32 grey pixels; 61,706 parameters with ten classes.

    Input (n, 1, 32, 32), UINT8 or float, 0 to 255. Output (n, classes), logits.
    Unlike 1998: rectifiers for the scaled tanh, max for the trainable average pools, the
    second convolution sees all six maps, a linear last layer for the radial basis one.
    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition",
    Proc. IEEE 86(11), fig. 2; pixel range -0.1 to 1.175 from its sec. II.B.
    """

    def __init__(self, config: LeNet5Config | None = None) -> None:
        super().__init__()
        config = config or LeNet5Config()
        active = ACTIVATIONS[config.activation]
        dropped = [nn.Dropout(config.dropout)] if config.dropout else []
        self.pixels = Pixels(gain=1.275 / 255, offset=-0.1)
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, kernel_size=5),  # 6 x 28 x 28
            active(),
            nn.MaxPool2d(2),  # 6 x 14 x 14
            nn.Conv2d(6, 16, kernel_size=5),  # 16 x 10 x 10
            active(),
            nn.MaxPool2d(2),  # 16 x 5 x 5
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            active(),
            *dropped,
            nn.Linear(120, 84),
            active(),
            *dropped,
            nn.Linear(84, config.classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(self.pixels(image)))
        return logits
