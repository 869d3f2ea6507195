"""From options to a fitted network: optimizer, schedule, penalties, batches, the best epoch.

What must never differ between the scripts. Lightning runs the loop.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from service.errors import GlasslineError
from training.checkpoints import Checkpoint, WholeFiles, load_checkpoint
from training.lessons import Bar, one_thread, quiet_lightning
from training.options import Options, WrongOption
from training.torchvision_import import lightning

#: Answer of the network and what was wanted, to the mean loss of the batch.
Loss = Callable[[Any, Tensor], Tensor]
#: Rows that are validated together.
VALIDATED = 1024


class Epoch(NamedTuple):
    """What one epoch came to; losses without penalties on the weights."""

    training_loss: float
    validation_loss: float
    score: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a fit went. The network has the weights of `best`, an index of `epochs`."""

    epochs: tuple[Epoch, ...]
    best: int
    seconds: float


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

    Raises:
        WrongOption: the machine has not what an option asks for.
        GlasslineError: training diverged, or a checkpoint cannot be read or written.
    """
    accelerator = accelerator_of(options)
    started = time.perf_counter()
    torch.manual_seed(options.seed)
    lesson = Lesson(network, loss, score, training_loss or loss, options, augment)
    rows = len(train[-1])
    size = {"full": rows, "mini": options.batch_size, "stochastic": 1}[options.batch_mode]
    shares = options.devices
    best = BestEpoch(options.patience, f"validation_{score[0]}", keep == "last")
    callbacks = [best, Bar(title, options.epochs, console, f"validation_{score[0]}")]
    if options.checkpoint:
        callbacks.append(Checkpoint(Path(options.checkpoint)))
    with one_thread(), quiet_lightning(), _told(best, network, options) as callbacks_of_rank_0:
        trainer = lightning.Trainer(
            max_epochs=options.epochs,
            accelerator=accelerator,
            devices=options.devices,
            # Forks: the parent stays who it is, and nothing has to be pickled.
            strategy="ddp_fork" if options.devices > 1 else "auto",
            use_distributed_sampler=False,
            precision="32-true" if options.arithmetic == "32" else options.arithmetic,
            callbacks=[*callbacks, *callbacks_of_rank_0],
            plugins=[WholeFiles()],
            logger=_logger(options, title),
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(
            lesson,
            _loader(train, Batches(rows, size, options.seed, options.reshuffle, shares)),
            _loader(validation, Batches(len(validation[-1]), VALIDATED, shares=shares)),
            **load_checkpoint(options),
        )
    network.cpu()
    if not best.weights or not all(torch.isfinite(w).all() for w in network.parameters()):
        raise GlasslineError(
            f"{title}: training diverged, its weights are no longer finite. "
            f"Lower --learning-rate (it was {options.learning_rate:g}), or raise --batch-size."
        )
    return Fitted(tuple(best.epochs), best.best, time.perf_counter() - started)


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
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.score = score
        self.training_loss = training_loss
        self.options = options
        self.augment = augment

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        # What is random in an update hangs on its number alone, so that one can begin anywhere.
        torch.manual_seed(_mixed(self.options.seed, self.global_step, self.global_rank))

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        *inputs, wanted = batch
        if self.augment is not None:
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
        optimizer = optimizer_of(self.network, self.options)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = schedule_of(optimizer, self.options, steps)
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["options"] = dataclasses.asdict(self.options)


def weights_of(network: nn.Module) -> list[nn.Parameter]:
    """What penalties are on: matrices and kernels, neither biases nor the gains of norms."""
    return [one for one in network.parameters() if one.ndim > 1 and one.requires_grad]


def optimizer_of(network: nn.Module, options: Options) -> torch.optim.Optimizer:
    """The optimizer that was asked for.

    The gradient of half the sum of squares is the weight itself, which is what torch calls
    weight decay; adamw takes it out of the gradient.
    Source: Loshchilov and Hutter 2019, arXiv:1711.05101.
    """
    penalised = weights_of(network)
    others = [one for one in network.parameters() if one.ndim <= 1 and one.requires_grad]
    groups = [
        {"params": penalised, "weight_decay": options.l2},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate, momentum = options.learning_rate, options.momentum
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
        cycle = schedulers.OneCycleLR(optimizer, options.learning_rate, steps)
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


class Batches(Sampler[list[int]]):
    """Which rows are in each batch; the order hangs on seed and epoch alone.

    Where processes train together each gets its share of every batch, so that their mean
    gradient is the batch's; rows of a last batch that has none for some of them are left out.

    Args:
        rows: how many there are.
        size: of a batch; the last one may be smaller.
        seed: of the order; None = as they come.
        reshuffle: a new order each epoch.
        shares: processes that train together.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        seed: int | None = None,
        reshuffle: bool = False,
        shares: int = 1,
    ) -> None:
        self.rows = rows
        self.size = min(size, rows)
        self.seed = seed
        self.reshuffle = reshuffle
        self.shares = shares
        self.epoch = 0
        self.starts = [
            at for at in range(0, rows, self.size) if min(self.size, rows - at) >= shares
        ]
        if not self.starts:
            raise WrongOption(
                f"--devices: got {shares}, but a batch has {self.size} rows, wanted at least one "
                "for each. Raise --batch-size."
            )

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.arange(self.rows)
        if self.seed is not None:
            epoch = self.epoch if self.reshuffle else 0
            order = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        rank = torch.distributed.get_rank() if self.shares > 1 else 0
        for start in self.starts:
            yield order[start : start + self.size][rank :: self.shares].tolist()


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


def _mixed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


@contextmanager
def _told(best: BestEpoch, network: nn.Module, options: Options) -> Iterator[list[Any]]:
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


def _loader(tensors: tuple[Tensor, ...], batches: Batches) -> DataLoader[Any]:
    # A batch is one indexing of the tensors: collating row by row took longer than the network.
    return DataLoader(TensorDataset(*tensors), sampler=batches, batch_size=None)


def _logger(options: Options, title: str) -> Any:
    from lightning.pytorch import loggers

    if options.log == "none":
        return False
    if options.log == "csv":
        return loggers.CSVLogger(options.log_folder, name=title)
    return loggers.TensorBoardLogger(options.log_folder, name=title)
