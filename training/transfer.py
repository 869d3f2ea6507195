"""Tune a pretrained network: which of its blocks, and how fast each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from models.transfer import Body, Transferred
from training.data.pictures import Part
from training.fitting import Fitted, Loss, fit
from training.lessons import one_thread
from training.options import Options, WrongOption

#: Variants of each training picture whose maps are kept, where some blocks are frozen.
VARIANTS = 8
#: Bytes of maps that are kept; above it the frozen blocks run with every update.
MOST = 2 << 30
#: Pictures that go through the frozen blocks together.
TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Lessons:
    """What tuning is told besides the network.

    `loss`, `training_loss` and `keep` as in `fit`; `vary` makes a random variant of a batch of
    pictures.
    """

    loss: Loss
    training_loss: Loss
    score: tuple[str, Loss]
    vary: Callable[[Tensor], Tensor]
    keep: Literal["best", "last"] = "best"


def tuned_blocks(tune: str, body: Body) -> int:
    """Blocks that `--tune` has trained besides the last layer.

    Args:
        tune: last, last-K (the last layer and the K blocks before it), or all.
        body: whose blocks are counted.

    Raises:
        WrongOption: none of these, or more than there are.
    """
    most = len(body.blocks)
    if tune in ("last", "all"):
        return 0 if tune == "last" else most
    found = re.fullmatch(r"last-([1-9][0-9]{0,3})", tune)
    if found is None or int(found[1]) > most:
        raise WrongOption(
            f"--tune: got {tune!r}, wanted last, last-1 to last-{most} (the last layer and so many "
            "blocks before it), or all."
        )
    return int(found[1])


def tune(
    network: Transferred,
    train: Part,
    validation: Part,
    lessons: Lessons,
    decay: float,
    options: Options,
    title: str,
    console: Console,
) -> Fitted:
    """Fit the last layer and the tuned blocks, in place.

    What frozen blocks make of a picture never changes: it is computed once, of each validation
    picture and of VARIANTS variants of each training picture, where that fits in memory.

    Args:
        network: with its weights.
        train, validation: pictures.
        lessons: losses, score and variation.
        decay: share of the learning rate from one block to the one before it.
        options: of the training; --epochs are passes over the pictures, not over variants.
        title: of the progress bar.
        console: for it.
    """
    rates = network.tail.rates(decay)
    fitted: nn.Module = network.tail
    vary: Callable[[Tensor], Tensor] = _one_of
    if len(network.frozen) and _size_of_maps(network, validation) * len(train) <= MOST:
        torch.manual_seed(options.seed)
        kept = [_maps(network, train.images, lessons.vary, title, console) for _ in range(VARIANTS)]
        seen, held = torch.stack(kept, 1), _maps(network, validation.images, None, title, console)
    else:
        fitted, vary = network, lessons.vary
        seen, held = torch.from_numpy(train.images), torch.from_numpy(validation.images)
        rates = {f"tail.{name}": share for name, share in rates.items()}
    network.train()  # Lightning leaves every module in the mode in which it comes
    return fit(
        fitted,
        loss=lessons.loss,
        score=lessons.score,
        train=(seen, torch.from_numpy(train.labels)),
        validation=(held, torch.from_numpy(validation.labels)),
        options=options,
        title=title,
        console=console,
        training_loss=lessons.training_loss,
        augment=vary,
        rates=rates,
        keep=lessons.keep,
    )


def _one_of(maps: Tensor) -> Tensor:
    """One variant of each picture: (n, variants, ...) to (n, ...); all there is in one, itself."""
    chosen = torch.randint(maps.shape[1], (len(maps),), device=maps.device)
    return maps[torch.arange(len(maps), device=maps.device), chosen]


def _maps(
    network: Transferred,
    images: NDArray[np.uint8],
    vary: Callable[[Tensor], Tensor] | None,
    title: str,
    console: Console,
) -> Tensor:
    """What the frozen blocks make of pictures, in FP32."""
    network.eval()
    parts = []
    starts = range(0, len(images), TOGETHER)
    with torch.inference_mode(), one_thread():
        for start in track(
            starts, f"{title}: frozen blocks", console=console, disable=not console.is_terminal
        ):
            pixels = torch.from_numpy(images[start : start + TOGETHER])
            parts.append(network.maps(pixels if vary is None else vary(pixels)))
    return torch.cat(parts).clone()


def _size_of_maps(network: Transferred, part: Part) -> int:
    """Bytes of the kept maps of one training picture."""
    with torch.inference_mode():
        one = network.eval().maps(torch.from_numpy(part.images[:1]))
    return one.nbytes * VARIANTS
