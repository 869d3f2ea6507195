"""From options to a fitted network: optimizer, schedule, penalties, batches, the best epoch.

What must never differ between the scripts. Lightning runs the loop.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from service.errors import GlasslineError
from training.batches import Batches
from training.best_epoch import BestEpoch, Epoch, told
from training.checkpoints import Checkpoint, WholeFiles, load_checkpoint
from training.lessons import Bar, one_thread, quiet_lightning
from training.optimizers import NO_RATES, optimizer_of, schedule_of, weights_of
from training.options import Options, WrongOption
from training.torchvision_import import lightning
from training.waiting import Clocked, Waiting

__all__ = ["Epoch", "Fitted", "Lesson", "Loss", "fit", "refit_options"]

#: Answer of the network and what was wanted, to the mean loss of the batch.
Loss = Callable[[Any, Tensor], Tensor]
#: Rows that are validated together.
VALIDATED = 1024


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a fit went. The network has the weights of `best`, an index of `epochs`.

    `waiting` is the share of the seconds in which training waited for its next batch, augmenting
    it included; None where processes trained together, which do not tell.
    """

    epochs: tuple[Epoch, ...]
    best: int
    seconds: float
    waiting: float | None = None


def refit_options(options: Options, fitted: Fitted) -> Options:
    """How to fit again, on two parts together: as many epochs as were best on one of them.

    Source: Goodfellow, Bengio and Courville 2016, algorithm 7.2.
    """
    return dataclasses.replace(
        options, epochs=fitted.best + 1, warmup=min(options.warmup, fitted.best), patience=0,
        checkpoint="", resume="", log="none",
    )  # fmt: skip


def fit(
    network: nn.Module,
    loss: Loss,
    score: tuple[str, Loss],
    train: tuple[Tensor, ...],
    validation: tuple[Tensor, ...],
    options: Options,
    title: str,
    console: Console,
    training_loss: Loss | None = None,
    keep: Literal["best", "last"] = "best",
    augment: Callable[..., Any] | None = None,
    lengths: NDArray[np.intp] | None = None,
    validated: int = VALIDATED,
    rates: Mapping[str, float] = NO_RATES,
) -> Fitted:
    """Fit a network in place; the same seed gives the same weights on the same machine.

    Args:
        network: takes all but the last of a batch's tensors.
        loss: of the network's answer and the last of them: what is made small.
        score: the same, for people to look at, and what it is called.
        train, validation: inputs, then what is wanted; rows on axis 0.
        options: every one of them but those of the network's own shape.
        title: what the progress bar is called.
        training_loss: the loss of training where it is another, weighted by class say.
        augment: the first input of a batch, before the network sees it in training.
        keep: which epoch's weights; `last` where the validation part says nothing.
        lengths: of the training rows, where they differ: see `Batches`.
        validated: rows that are validated together.
        rates: share of the learning rate by name of the parameter; 1 where none is named.

    Raises:
        WrongOption: the machine has not what an option asks for.
        GlasslineError: training diverged, or a checkpoint cannot be read or written.
    """
    accelerator = accelerator_of(options)
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    lesson = Lesson(network, loss, score, training_loss or loss, options, augment, rates)
    rows, shares = len(train[-1]), options.devices
    size = {"full": rows, "mini": options.batch_size, "stochastic": 1}[options.batch_mode]
    shown = f"validation_{score[0]}"
    best = BestEpoch(options.patience, shown, keep == "last")
    callbacks = [best, Bar(title, options.epochs, console, shown)]
    if options.checkpoint:
        callbacks.append(Checkpoint(Path(options.checkpoint)))
    with one_thread(), quiet_lightning(), told(best, network, options) as of_rank_0:
        order = Batches(rows, size, options.seed, options.reshuffle, shares, lengths)
        trainer_of(options, accelerator, title, [*callbacks, *of_rank_0]).fit(
            lesson,
            loader_of(train, order, lesson.waiting),
            loader_of(validation, Batches(len(validation[-1]), validated, shares=shares)),
            **load_checkpoint(options, lesson),
        )
    network.cpu()
    if not best.weights or not all(torch.isfinite(w).all() for w in network.parameters()):
        raise GlasslineError(
            f"{title}: training diverged, its weights are no longer finite. "
            f"Lower --learning-rate (it was {options.learning_rate:g}), or raise --batch-size."
        )
    seconds = time.perf_counter() - started
    waiting = lesson.waiting.seconds / seconds if shares == 1 else None
    return Fitted(tuple(best.epochs), best.best, seconds, waiting)


def trainer_of(options: Options, accelerator: str, title: str, callbacks: list[Any]) -> Any:
    """Lightning's loop, without its own advice, bars and files."""
    return lightning.Trainer(
        max_epochs=options.epochs,
        accelerator=accelerator,
        devices=options.devices,
        # Forks: the parent stays who it is, and nothing has to be pickled.
        strategy="ddp_fork" if options.devices > 1 else "auto",
        use_distributed_sampler=False,
        precision="32-true" if options.arithmetic == "32" else options.arithmetic,
        callbacks=callbacks,
        plugins=[WholeFiles()],
        logger=_logger(options, title),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=options.clip_norm or None,
    )


class Lesson(lightning.LightningModule):
    """A network with its loss, its optimizer and its schedule."""

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        score: tuple[str, Loss],
        training_loss: Loss,
        options: Options,
        augment: Callable[..., Any] | None = None,
        rates: Mapping[str, float] = NO_RATES,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.score = score
        self.training_loss = training_loss
        self.options = options
        self.augment = augment
        self.rates = rates
        self.waiting = Waiting()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        torch.manual_seed(seed_of_update(self.options.seed, self.global_step, self.global_rank))

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        *inputs, wanted = batch
        if self.augment is not None:
            with self.waiting:
                inputs[0] = self.augment(inputs[0])
        loss = self.training_loss(self.network(*inputs), wanted)
        self.log("training_loss", loss, on_step=False, on_epoch=True, **self._logged(wanted))
        if self.options.l1:
            loss = loss + self.options.l1 * sum(w.abs().sum() for w in weights_of(self.network))
        return loss

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        *inputs, wanted = batch
        answer = self.network(*inputs)
        self.log("validation_loss", self.loss(answer, wanted), **self._logged(wanted))
        name, score = self.score
        self.log(f"validation_{name}", score(answer, wanted), **self._logged(wanted))

    def _logged(self, wanted: Tensor) -> dict[str, Any]:
        return {"batch_size": len(wanted), "sync_dist": self.options.devices > 1}

    def configure_optimizers(self) -> Any:
        optimizer = optimizer_of(self.network, self.options, self.rates)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = schedule_of(optimizer, self.options, steps)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["options"] = dataclasses.asdict(self.options)


def accelerator_of(options: Options) -> str:
    """`cpu` or `gpu`.

    Raises:
        WrongOption: the machine has not what was demanded.
    """
    there = torch.cuda.device_count()
    if options.device == "cuda" and not there:
        raise WrongOption(
            "--device: 'cuda' was demanded, but torch finds none. "
            "Check the driver and that torch is a CUDA build, or train with --device cpu."
        )
    gpu = options.device != "cpu" and there > 0
    if gpu and options.devices > there:
        raise WrongOption(f"--devices: got {options.devices}, but torch finds {there} GPUs.")
    if options.arithmetic == "16-mixed" and not gpu:
        raise WrongOption(
            "--arithmetic: 16-mixed needs a GPU; on a CPU take bf16-mixed, or 32, which is faster."
        )
    return "gpu" if gpu else "cpu"


def seed_of_update(seed: int, step: int, rank: int) -> int:
    """What is random in an update hangs on its number alone, so that one can begin anywhere."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def loader_of(
    tensors: tuple[Tensor, ...], batches: Batches, waiting: Waiting | None = None
) -> DataLoader[Any]:
    """Rows of tensors, batch by batch."""
    # A batch is one indexing of the tensors: collating row by row took longer than the network.
    return Clocked(waiting or Waiting(), TensorDataset(*tensors), batches)


def _logger(options: Options, title: str) -> Any:
    from lightning.pytorch import loggers

    if options.log == "none":
        return False
    if options.log == "csv":
        return loggers.CSVLogger(options.log_folder, name=title)
    return loggers.TensorBoardLogger(options.log_folder, name=title)
