"""Sequences that were read, whatever they came from, and which of them are for what.

A sequence is a run of one machine, an engine's life, an utterance: its steps belong together, and
so parts are split by sequence and never by window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from service.errors import GlasslineError
from service.inference.windows import interpolated
from training.options import WrongOption

Task = Literal["classify", "regress"]
Gaps = Literal["refuse", "interpolate"]
#: Sequences of each class, so that every part of the split has one.
FEWEST = 5
#: The split does not follow the training seed: figures of several seeds compare.
SPLIT_SEED = 20


class BadSequences(GlasslineError):
    """Sequences that nothing can be learnt from as they are."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Sequences of C channels with what is true of each of their steps.

    Attributes:
        series: (T_i, C) FP32 in the channels' units, NaN = a gap.
        truth: of every step: classify (T_i,) INT64 indices of `labels`; regress (T_i, k) FP64,
            NaN where nobody knows.
        ids: what each is called.
        targets: names of the k values, in `unit`.
        bounds: the smallest and the largest value that there can be.
        tested: which belong to a test part that the source itself has; None = it has none.
        ends: whether a test sequence is asked about at its end alone.
    """

    name: str
    sha256: str
    licence: str
    task: Task
    channels: tuple[str, ...]
    series: tuple[NDArray[np.float32], ...]
    truth: tuple[NDArray[np.int64] | NDArray[np.float64], ...]
    ids: tuple[str, ...]
    targets: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    unit: str | None = None
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    tested: NDArray[np.bool_] | None = None
    ends: bool = False

    @property
    def steady(self) -> bool:
        """Whether one and the same is true of all steps of a sequence."""
        return all(bool((one == one[:1]).all()) for one in self.truth)


@dataclass(frozen=True, slots=True)
class Parts:
    """Indices of sequences. The held-out ones choose the epoch, or calibrate the interval."""

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]
    test: NDArray[np.intp]


def split(sequences: Sequences, seed: int = SPLIT_SEED) -> Parts:
    """60 % train, 20 % held out, 20 % test; where a test part is given 85 % and 15 % of the rest.

    By class, where one class is true of a whole sequence.

    Raises:
        BadSequences: there are too few, in all or of a class.
    """
    everything = np.arange(len(sequences.series))
    tested = sequences.tested
    rest, test = everything, everything[:0]
    classes = _classes(sequences)
    few = 2 * FEWEST if tested is not None else 4 * FEWEST
    if len(everything) < few:
        raise BadSequences(
            f"'{sequences.name}': got {len(everything)} sequences, wanted at least {few}: parts "
            "are split by sequence. Collect more, or cut long runs in the file (another id)."
        )
    if tested is not None:
        rest, test = np.flatnonzero(~tested), np.flatnonzero(tested)
    else:
        rest, test = train_test_split(
            everything, test_size=0.2, random_state=seed, stratify=classes
        )
    left = None if classes is None else classes[rest]
    share = 0.15 if tested is not None else 0.25
    train, held_out = train_test_split(rest, test_size=share, random_state=seed, stratify=left)
    return Parts(np.sort(train), np.sort(held_out), np.sort(test))


def _classes(sequences: Sequences) -> NDArray[np.int64] | None:
    """The class of each sequence; None where there is none of a whole one."""
    if sequences.task != "classify" or not sequences.steady:
        return None
    classes = np.array([one[0] for one in sequences.truth], np.int64)
    counts = np.bincount(classes, minlength=len(sequences.labels))
    if rare := [
        f"'{sequences.labels[at]}' ({counts[at]})" for at in np.flatnonzero(counts < FEWEST)[:5]
    ]:
        raise BadSequences(
            f"'{sequences.name}': classes with fewer than {FEWEST} sequences: {', '.join(rare)}. "
            "Collect more of them, or join classes."
        )
    return classes


def without_gaps(sequences: Sequences, gaps: Gaps) -> Sequences:
    """The same without gaps, filled as the service fills them.

    Raises:
        BadSequences: there are gaps and they are refused, or a channel is empty.
    """
    filled = []
    for name, one in zip(sequences.ids, sequences.series, strict=True):
        if not np.isnan(one).any():
            filled.append(one)
            continue
        step, channel = np.argwhere(np.isnan(one))[0]
        where = f"'{sequences.name}': sequence '{name}'"
        if gaps == "refuse":
            raise BadSequences(
                f"{where}: channel '{sequences.channels[channel]}' has a gap at step {step}. Fill "
                "it, or have gaps filled in training and serving alike: --gaps interpolate."
            )
        try:
            filled.append(interpolated(one[np.newaxis], np.array([len(one)], np.int64))[0][0])
        except ValueError as error:
            raise BadSequences(
                f"{where}: channel '{sequences.channels[error.args[1]]}' has no value at all. "
                "Leave the sequence out, or the channel with --drop."
            ) from None
    return replace(sequences, series=tuple(filled))


def forecast(sequences: Sequences, target: str, horizon: int) -> Sequences:
    """What a channel will be in the next steps, as the truth of each step.

    Args:
        target: the channel.
        horizon: steps ahead, from the next one on.

    Returns:
        The same sequences; `targets` are "pressure +1", "pressure +2", ...

    Raises:
        WrongOption: there is no such channel.
        BadSequences: no sequence is longer than the horizon.
    """
    if target not in sequences.channels:
        raise WrongOption(
            f"--target: got {target!r}, wanted a channel to forecast: "
            f"{', '.join(sequences.channels)}."
        )
    at = sequences.channels.index(target)
    truth = []
    for one in sequences.series:
        ahead = np.full((len(one), horizon), np.nan)
        for step in range(1, min(horizon, len(one) - 1) + 1):
            ahead[:-step, step - 1] = one[step:, at]
        truth.append(ahead)
    if max(len(one) for one in sequences.series) <= horizon:
        raise BadSequences(
            f"'{sequences.name}': no sequence is longer than the horizon of {horizon} steps. "
            "Lower --horizon."
        )
    names = tuple(f"{target} +{step}" for step in range(1, horizon + 1))
    return replace(sequences, task="regress", truth=tuple(truth), targets=names, labels=(),
                   unit=None)  # fmt: skip
