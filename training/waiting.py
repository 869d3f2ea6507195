"""How long a fit waits for its batches."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.batches import Batches


class Waiting:
    """Adds up the seconds that pass inside it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.since = 0.0

    def __enter__(self) -> None:
        self.since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self.since


class Clocked(DataLoader[Any]):
    """Gives out batches, and counts the seconds that whoever asks waits for them.

    Args:
        waiting: what the seconds are added to.
        rows: indexed with the list of a batch's rows.
        batches: these lists.
    """

    def __init__(
        self, waiting: Waiting, rows: Dataset[tuple[Tensor, ...]], batches: Batches
    ) -> None:
        super().__init__(rows, sampler=batches, batch_size=None)
        self.waiting = waiting

    def __iter__(self) -> Any:
        batches = super().__iter__()
        while True:
            with self.waiting:
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
