"""Which rows are in each batch of a fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from training.options import WrongOption


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
