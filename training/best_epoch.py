"""Which epoch's weights a fit ends with, in one process or in several."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from training.options import Options
from training.torchvision_import import lightning


class Epoch(NamedTuple):
    """What one epoch came to; losses without penalties on the weights."""

    training_loss: float
    validation_loss: float
    score: float
    learning_rate: float


class BestEpoch(lightning.Callback):
    """Remember each epoch; put back the weights of the one with the lowest validation loss.

    Args:
        patience: stop after so many epochs without a lower one; 0 = never.
        score: name of the figure that is remembered besides.
        last: keep the last epoch instead.
    """

    def __init__(self, patience: int, score: str, last: bool = False) -> None:
        self.patience = patience
        self.score = score
        self.last = last
        self.epochs: list[Epoch] = []
        self.best = -1
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        measured = trainer.callback_metrics
        loss = float(measured["validation_loss"])
        # The rate that this epoch's last update was made with stands in the optimizer until
        # the next one.
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        score = float(measured[self.score])
        self.epochs.append(Epoch(float(measured["training_loss"]), loss, score, rate))
        lower = self.best < 0 or loss < self.epochs[self.best].validation_loss
        if np.isfinite(loss) and (lower or self.last):
            self.best = len(self.epochs) - 1
            state = pl_module.network.state_dict()
            self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}
        if self.patience and len(self.epochs) - 1 - self.best >= self.patience:
            trainer.should_stop = True
        if not all(torch.isfinite(weight).all() for weight in pl_module.network.parameters()):
            trainer.should_stop = True  # no later epoch mends what is no number

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if self.weights:
            pl_module.network.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        epochs = [tuple(epoch) for epoch in self.epochs]
        return {"epochs": epochs, "best": self.best, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.epochs = [Epoch(*epoch) for epoch in state_dict["epochs"]]
        self.best, self.weights = state_dict["best"], state_dict["weights"]


@contextmanager
def told(best: BestEpoch, network: nn.Module, options: Options) -> Iterator[list[Any]]:
    """Where processes train together, what the first of them has in the end comes back."""
    if options.devices == 1:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="glassline-fit-") as folder:
        path = Path(folder) / "fitted"
        yield [_Tell(best, path)]
        if path.exists():
            best.load_state_dict(torch.load(path, weights_only=True))
            network.load_state_dict(best.weights)


class _Tell(lightning.Callback):
    def __init__(self, best: BestEpoch, path: Path) -> None:
        self.best = best
        self.path = path

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if trainer.is_global_zero:
            torch.save(self.best.state_dict(), self.path)
