"""Optimizers and schedules, as the options name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from training.options import Options

NO_RATES: Mapping[str, float] = MappingProxyType({})


def weights_of(network: nn.Module) -> list[nn.Parameter]:
    """What penalties are on: matrices and kernels, neither biases nor the gains of norms."""
    return [one for one in network.parameters() if one.ndim > 1 and one.requires_grad]


def optimizer_of(
    network: nn.Module, options: Options, rates: Mapping[str, float] = NO_RATES
) -> torch.optim.Optimizer:
    """The optimizer that was asked for.

    The gradient of half the sum of squares is the weight itself, which is what torch calls
    weight decay; adamw takes it out of the gradient.
    Source: Loshchilov and Hutter 2019, arXiv:1711.05101.

    Args:
        network: what is trained of it requires a gradient.
        options: how.
        rates: share of the learning rate by name of the parameter; 1 where none is named.
    """
    rate, momentum = options.learning_rate, options.momentum
    kinds: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, one in network.named_parameters():
        if one.requires_grad:
            kind = (rates.get(name, 1.0), options.l2 if one.ndim > 1 else 0.0)
            kinds.setdefault(kind, []).append(one)
    # The highest rate first: it is the one that is logged and drawn.
    groups = [
        {"params": kinds[share, decay], "lr": share * rate, "weight_decay": decay}
        for share, decay in sorted(kinds, reverse=True)
    ]
    optim = torch.optim
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: optim.SGD(groups, rate),
        "momentum": lambda: optim.SGD(groups, rate, momentum=momentum),
        "nesterov": lambda: optim.SGD(groups, rate, momentum=momentum, nesterov=True),
        "adagrad": lambda: optim.Adagrad(groups, rate),
        "rmsprop": lambda: optim.RMSprop(groups, rate),
        "adam": lambda: optim.Adam(groups, rate),
        "adamw": lambda: optim.AdamW(groups, rate),
    }
    return makers[options.optimizer]()


def schedule_of(
    optimizer: torch.optim.Optimizer, options: Options, steps: int
) -> dict[str, Any] | None:
    """The schedule that was asked for, as Lightning takes it; None where the rate never moves.

    Args:
        steps: updates in all epochs.
    """
    schedulers = torch.optim.lr_scheduler
    if options.schedule == "one-cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        cycle = schedulers.OneCycleLR(optimizer, peaks, steps)
        return {"scheduler": cycle, "interval": "step"}
    if options.schedule == "plateau":
        plateau = schedulers.ReduceLROnPlateau(
            optimizer, factor=options.schedule_factor, patience=options.schedule_every
        )
        return {"scheduler": plateau, "interval": "epoch", "monitor": "validation_loss"}
    if options.schedule == "constant" and not options.warmup:
        return None
    rate = schedulers.LambdaLR(optimizer, lambda step: rate_at(step, steps, options))
    return {"scheduler": rate, "interval": "step"}


def rate_at(step: int, steps: int, options: Options) -> float:
    """Share of the learning rate at an update, 0 to 1.

    Args:
        step: number of the update, from 0.
        steps: updates in all epochs.
    """
    each = steps / options.epochs
    warm = round(options.warmup * each)
    if step < warm:
        return (step + 1) / warm
    epoch = int(step // each)
    if options.schedule == "step":
        return float(options.schedule_factor ** (epoch // options.schedule_every))
    if options.schedule == "exponential":
        return float(options.schedule_factor**epoch)
    if options.schedule == "cosine":
        return float((1 + np.cos(np.pi * (step - warm) / max(1, steps - warm))) / 2)
    return 1.0
