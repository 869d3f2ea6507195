"""What `glassline train recurrent` can be told of sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.recurrent import Cell, Pooling
from training.data import japanese_vowels
from training.data.sequences import SPLIT_SEED, Gaps, Sequences
from training.data.windows import Cut
from training.options import RECURRENT, Options


@dataclass(frozen=True, slots=True)
class Config:
    """All of it; recorded in the manifest.

    The fields are those of `RecurrentConfig`, `Cut` and `series_file.load`.

    Attributes:
        longest: steps of a window that can be asked about, at most; 0 = those of `window`.
        horizon: steps ahead of a forecast.
        noise: deviation of what is added to scaled channels in training.
        gaps: what becomes of gaps, in training and in serving.
        interval: share of truths that the interval of a regression holds; 0 = no interval.
    """

    data: str = japanese_vowels.NAME
    task: Literal["auto", "classify", "regress", "forecast"] = "auto"
    target: str | None = None
    sequence: str = "id"
    time: str = "time"
    drop: tuple[str, ...] = ()
    cell: Cell = "gru"
    units: int = 64
    layers: int = 1
    bidirectional: bool = False
    pooling: Pooling = "last"
    truncate: int = 0
    window: int = 0
    shortest: int = 1
    longest: int = 0
    stride: int = 1
    horizon: int = 1
    noise: float = 0.0
    gaps: Gaps = "refuse"
    interval: float = 0.9
    name: str = "gru-japanese-vowels"
    split_seed: int = SPLIT_SEED
    options: Options = RECURRENT

    @property
    def taught(self) -> Cut:
        """How windows are cut to learn from."""
        return Cut(self.window, self.shortest, self.stride)

    @property
    def asked(self) -> Cut:
        """How windows are cut to be asked about."""
        return Cut(self.longest or self.window, self.shortest, self.stride)

    def at_every_step(self, sequences: Sequences) -> bool:
        """Whether the network is taught at every step of a window, and not at its end alone."""
        return not (sequences.steady or self.bidirectional) and self.pooling == "last"

    def calibrates(self, sequences: Sequences) -> bool:
        """Whether the held-out sequences calibrate an interval."""
        return bool(self.interval) and not sequences.labels
