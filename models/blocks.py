"""Layers that several families share."""

from __future__ import annotations

from torch import nn

#: What stands between affine layers, by the name of the option.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
}
