"""Two networks against each other: one makes pictures, one tells them from real ones.

Source: Goodfellow et al. 2014, arXiv:1406.2661, sec. 3 with the non-saturating loss of the
generator; Radford, Metz and Chintala 2015, arXiv:1511.06434, for Adam's settings. The weights that
are judged and released are a running mean of the generator's: Yazıcı et al. 2019, arXiv:1806.04498.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from service.errors import GlasslineError
from service.explain.render import png
from service.explain.sheet import contact_sheet
from service.tasks.generate import grey_levels
from training.batches import Batches
from training.best_epoch import BestEpoch
from training.checkpoints import Checkpoint, load_checkpoint
from training.fitting import VALIDATED, accelerator_of, loader_of, seed_of_update, trainer_of
from training.lessons import Bar, one_thread, quiet_lightning
from training.options import Options
from training.torchvision_import import lightning
from training.waiting import Waiting

#: What Adam remembers of the last gradient and of its square; with 0.9 training swings.
BETAS = (0.5, 0.999)
#: Pictures on a sheet of samples.
SHOWN = 64

#: Pictures (n, C, H, W), 0 to 255, to their distance from real ones; the lower the better.
Judge = Callable[[NDArray[np.uint8]], float]


class Round(NamedTuple):
    """What one epoch came to.

    Attributes:
        discriminator, generator: mean losses; log 4 = 1.39 and log 2 = 0.69 where nothing can be
            told apart.
        right: share of real and generated pictures that the discriminator told rightly, 0 to 1;
            near 1 the generator learns little, at 0.5 nothing can be told apart.
        distance: of the running mean's pictures, by the judge.
    """

    discriminator: float
    generator: float
    right: float
    distance: float


def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), from logits (n,)."""
    return nn.functional.softplus(-real).mean() + nn.functional.softplus(made).mean()


def generator_loss(made: Tensor) -> Tensor:
    """-log D(G(z)), from logits (n,): it does not fade where the discriminator is sure."""
    return nn.functional.softplus(-made).mean()


def moved(pictures: Tensor, pixels: int) -> Tensor:
    """Each picture of a batch moved by its own random amount, black coming in; differentiable.

    Both kinds of pictures are moved alike, so that the discriminator cannot know the few real ones
    by heart, and the generator does not learn to move.
    Source: Zhao et al. 2020, arXiv:2006.10738.

    Args:
        pictures: (n, C, H, W).
        pixels: largest move along each axis; 0 = none.
    """
    if not pixels:
        return pictures
    n, _, height, width = pictures.shape
    wide = nn.functional.pad(pictures, (pixels,) * 4)
    where: Any = {"device": pictures.device}
    down, across = torch.randint(0, 2 * pixels + 1, (2, n, 1), **where)
    rows, columns = (
        start + torch.arange(extent, **where) for start, extent in ((down, height), (across, width))
    )
    at = torch.arange(n, **where)[:, None, None]
    # Indexed axes come first: (n, H, W, C).
    return wide.permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


class Duel(lightning.LightningModule):
    """A generator, the running mean of its weights, and a discriminator; both learn at each batch.

    Args:
        generator: noise (n, z), and labels (n,) where it is conditional, to pictures in [0, 1].
        discriminator: pictures, and labels, to logits (n,).
        noise: numbers that a picture is made from.
        options: seed and learning rate.
        mean: share of the running mean that an update keeps, [0, 1).
        move: see `moved`.
        vary: real pictures (n, C, H', W'), 0 to 255, to (n, C, H, W), 0 to 255.
        judge: of the pictures of the running mean.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        noise: int,
        options: Options,
        mean: float,
        move: int,
        vary: Callable[[Tensor], Tensor],
        judge: Judge,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        #: the running mean; `BestEpoch` keeps what bears this name
        self.network = copy.deepcopy(generator).requires_grad_(False)
        self.noise = noise
        self.options = options
        self.mean = mean
        self.move = move
        self.vary = vary
        self.judge = judge
        self.waiting = Waiting()
        self.made: list[NDArray[np.uint8]] = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        torch.manual_seed(seed_of_update(self.options.seed, self.global_step, self.global_rank))

    def training_step(self, batch: list[Tensor], _index: int) -> None:
        pictures, *label = batch
        with self.waiting:
            real = self.vary(pictures).to(torch.float32) / 255
        optimizers: Any = self.optimizers()
        for_discriminator, for_generator = optimizers
        made = self.generator(torch.randn(len(real), self.noise, device=self.device), *label)

        told = self.discriminator(moved(real, self.move), *label)
        seen = self.discriminator(moved(made.detach(), self.move), *label)
        loss = discriminator_loss(told, seen)
        for_discriminator.zero_grad()
        self.manual_backward(loss)
        for_discriminator.step()

        self.discriminator.requires_grad_(False)
        won = generator_loss(self.discriminator(moved(made, self.move), *label))
        for_generator.zero_grad()
        self.manual_backward(won)
        for_generator.step()
        self.discriminator.requires_grad_(True)
        self._follow()

        right = ((told > 0).float().mean() + (seen < 0).float().mean()) / 2
        measured = {"discriminator_loss": loss, "training_loss": won, "told_rightly": right}
        self.log_dict(measured, on_step=False, on_epoch=True, batch_size=len(real))

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the running mean follow by one update; statistics of batches as they are."""
        for mean, weight in zip(
            self.network.parameters(), self.generator.parameters(), strict=True
        ):
            mean.lerp_(weight, 1 - self.mean)
        for kept, now in zip(self.network.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(now)

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        self.made.append(grey_levels(self.network(*batch).cpu().numpy()))

    def on_validation_epoch_end(self) -> None:
        self.shown = np.concatenate(self.made)
        self.made = []
        distance = self.judge(self.shown)
        # The epoch with the lowest is released.
        self.log_dict({"validation_loss": distance, "validation_frechet_distance": distance})

    def configure_optimizers(self) -> Any:
        return [
            torch.optim.Adam(one.parameters(), self.options.learning_rate, BETAS)
            for one in (self.discriminator, self.generator)
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["options"] = dataclasses.asdict(self.options)


class Fought(NamedTuple):
    """How a duel went; the running mean has the weights of `best`, an index of `rounds`."""

    rounds: tuple[Round, ...]
    best: int
    seconds: float


def fight(
    duel: Duel,
    train: tuple[Tensor, ...],
    validation: tuple[Tensor, ...],
    title: str,
    console: Console,
    samples: Path | None = None,
) -> Fought:
    """Let both networks learn; the same seed gives the same weights on the same machine.

    Args:
        duel: its `network` has the weights of the best epoch afterwards, by its judge.
        train: pictures, and labels where it is conditional; rows on axis 0.
        validation: noise, and labels, of the pictures that are judged after each epoch.
        title: what the progress bar is called.
        samples: folder for a sheet of each epoch.

    Raises:
        WrongOption: the machine has not what an option asks for.
        GlasslineError: training diverged, or a checkpoint cannot be read or written.
    """
    options, started = duel.options, time.perf_counter()
    accelerator = accelerator_of(options)
    shown = "validation_frechet_distance"
    best, balance = BestEpoch(options.patience, shown), Balance(samples)
    callbacks = [best, balance, Bar(title, options.epochs, console, shown)]
    if options.checkpoint:
        callbacks.append(Checkpoint(Path(options.checkpoint)))
    rows = len(train[0])
    order = Batches(rows, options.batch_size, options.seed, options.reshuffle)
    with one_thread(), quiet_lightning():
        trainer_of(options, accelerator, title, callbacks).fit(
            duel,
            loader_of(train, order, duel.waiting),
            loader_of(validation, Batches(len(validation[0]), VALIDATED)),
            **load_checkpoint(options, duel),
        )
    duel.network.cpu()
    if not best.weights or not all(torch.isfinite(w).all() for w in duel.network.parameters()):
        raise GlasslineError(
            f"{title}: training diverged, its weights are no longer finite. "
            f"Lower --learning-rate (it was {options.learning_rate:g})."
        )
    return Fought(tuple(balance.rounds), best.best, time.perf_counter() - started)


class Balance(lightning.Callback):
    """Remember how the two did in each epoch, and write a sheet of samples of each.

    Args:
        folder: for the sheets, `epoch-0001.png` and so on; None = none are written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.rounds: list[Round] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        measured = trainer.callback_metrics
        names = ("discriminator_loss", "training_loss", "told_rightly", "validation_loss")
        self.rounds.append(Round(*(float(measured[name]) for name in names)))
        if self.folder is not None:
            sheet = contact_sheet(pl_module.shown[:SHOWN], scale=2)
            path = self.folder / f"epoch-{len(self.rounds):04d}.png"
            path.write_bytes(png(sheet))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"rounds": [tuple(one) for one in self.rounds]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.rounds = [Round(*one) for one in state_dict["rounds"]]
