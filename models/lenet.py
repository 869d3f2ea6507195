"""LeNet-5."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.blocks import ACTIVATIONS, Pixels


@dataclass(frozen=True, slots=True)
class LeNet5Config:
    """Size of the picture and of the answer, and what is between the layers.

    The paper has one channel and 32 pixels a side; from 16 on any side will do.
    """

    classes: int = 10
    activation: str = "relu"
    dropout: float = 0.0
    channels: int = 1
    size: int = 32


class LeNet5(nn.Module):
    """LeNet-5; 61,706 parameters on 32 x 32 grey pixels with ten classes.

    Input (n, channels, size, size), UINT8 or float, 0 to 255. Output (n, classes), logits.
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
        side = ((config.size - 4) // 2 - 4) // 2
        self.pixels = Pixels(gain=1.275 / 255, offset=-0.1)
        self.features = nn.Sequential(  # shapes at the paper's size
            nn.Conv2d(config.channels, 6, kernel_size=5),  # 6 x 28 x 28
            active(),
            nn.MaxPool2d(2),  # 6 x 14 x 14
            nn.Conv2d(6, 16, kernel_size=5),  # 16 x 10 x 10
            active(),
            nn.MaxPool2d(2),  # 16 x 5 x 5
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * side * side, 120),
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
