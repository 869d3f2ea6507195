"""Which rows are in each batch of a fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from training.options import WrongOption

#: Batches among whose rows those of one length are put together: the order stays mostly random.
SORTED = 50


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
        lengths: (rows,) of the rows; a batch takes rows of about one length, so that little of
            it is padding. Needs a seed.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        seed: int | None = None,
        reshuffle: bool = False,
        shares: int = 1,
        lengths: NDArray[np.intp] | None = None,
    ) -> None:
        self.rows = rows
        self.size = min(size, rows)
        self.seed = seed
        self.reshuffle = reshuffle
        self.shares = shares
        self.lengths = lengths
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
        order, starts = np.arange(self.rows), self.starts
        if self.seed is not None:
            random = np.random.default_rng([self.seed, self.epoch if self.reshuffle else 0])
            order = random.permutation(self.rows)
            if self.lengths is not None:
                order = self._by_length(self.lengths, order)
                starts = [starts[at] for at in random.permutation(len(starts))]
        rank = torch.distributed.get_rank() if self.shares > 1 else 0
        for start in starts:
            yield order[start : start + self.size][rank :: self.shares].tolist()

    def _by_length(self, lengths: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
        """The same rows, sorted by length within stretches of so many batches."""
        stretch = self.size * SORTED
        parts = [order[at : at + stretch] for at in range(0, self.rows, stretch)]
        return np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in parts])
