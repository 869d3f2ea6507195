"""Layers that several families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: What stands between affine layers, by the name of the option.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
}


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
