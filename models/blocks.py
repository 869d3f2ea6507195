"""Layers that several families share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: What stands between affine layers, by the name of the option.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
}


class Pixels(nn.Module):
    """Raw pixels to network units: `value * gain + offset`, in FP32.

    Input (n, C, H, W), UINT8 or float, 0 to 255. Output the same shape, FP32.

    Args:
        gain, offset: one number for all channels, or one for each.
    """

    def __init__(self, gain: float | Sequence[float], offset: float | Sequence[float]) -> None:
        super().__init__()
        # Part of the graph, not of what is learnt: no entries of the state dict.
        self.register_buffer("gain", _planes(gain), persistent=False)
        self.register_buffer("offset", _planes(offset), persistent=False)
        self.gain: Tensor
        self.offset: Tensor

    def forward(self, image: Tensor) -> Tensor:
        return image.to(torch.float32) * self.gain + self.offset


def _planes(given: float | Sequence[float]) -> Tensor:
    """Numbers by channel as (C, 1, 1), C = 1 for all alike."""
    numbers = [given] if isinstance(given, int | float) else list(given)
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1)


class Probabilities(nn.Module):
    """A network that gives logits (n, classes), as the service wants it: softmax included."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.network(image), dim=-1)


class Tempered(nn.Module):
    """Probabilities of a classifier, made as sure as it has the right to be.

    Input: whatever the network takes; it gives probabilities (n, classes), or a tuple that begins
    with them. Output: softmax(log p / temperature), which is what dividing the logits gives; the
    rest of the tuple as it is. Which class is highest never changes. For networks that end in a
    softmax; of a sigmoid ONNX Runtime keeps no small probability. A network that divides its
    logits itself has an attribute `temperature` instead.

    Source: Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599.
    """

    #: below it a probability is 0 for everybody: near its end FP32 is read differently
    SMALLEST = 1e-30

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer = self.network(*inputs)
        first, *others = answer if isinstance(answer, tuple | list) else (answer,)
        scores = torch.log(first.clamp_min(self.SMALLEST)) * (1 / self.temperature)
        calibrated = torch.softmax(scores, dim=-1)
        return (calibrated, *others) if others else calibrated
