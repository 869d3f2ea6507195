"""Train an RNN, an LSTM or a GRU on sequences and release it. Read `main` from top to bottom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from models.recurrent import (
    EveryStep,
    InUnits,
    Probabilities,
    RecurrentConfig,
    SequenceNetwork,
)
from service.manifest import Interval
from service.store import ModelStore, StoredModel
from training import conformal, recurrent_losses
from training.class_weights import class_weights
from training.data import cmapss, japanese_vowels, series_file
from training.data.sequences import Parts, Sequences, forecast, split, without_gaps
from training.data.windows import Windows, windows_of
from training.fitting import Fitted, fit, refit_options
from training.options import WrongOption
from training.recurrent_candidate import candidate_of, predicted
from training.recurrent_config import Config
from training.release import release


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, train, calibrate, release.

    Raises:
        WrongOption: an option does not fit the data or the machine.
        BadSequences, BadFile: nothing can be learnt from the data.
        GlasslineError: training diverged.
        ReleaseRefused: the exported graph is not the trained network.
    """
    sequences = without_gaps(read(config), config.gaps)
    parts = split(sequences, config.split_seed)
    network, fitted = train(config, sequences, parts, console)
    served, interval = answering(config, sequences, parts, network)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release(candidate_of(config, sequences, parts, served, interval, fitted), store)


def read(config: Config) -> Sequences:
    """The sequences that the configuration names.

    Raises:
        WrongOption, BadSequences, BadFile: see the loaders.
    """
    path = Path(config.data)
    bundled = config.data == japanese_vowels.NAME
    if bundled or cmapss.is_cmapss(path):
        if config.target is not None or config.task != "auto":
            raise WrongOption(
                f"--target, --task: '{config.data}' has its own of both. Leave them out."
            )
        return japanese_vowels.load() if bundled else cmapss.load(path)
    if config.task != "forecast" and config.horizon != 1:
        raise WrongOption(
            f"--horizon: got {config.horizon}, which is of --task forecast alone. Leave it out."
        )
    sequences = series_file.load(
        path, config.target, config.task, config.sequence, config.time, config.drop
    )
    if config.task != "forecast":
        return sequences
    assert config.target is not None  # series_file has refused that
    return forecast(sequences, config.target, config.horizon)


def train(
    config: Config, sequences: Sequences, parts: Parts, console: Console
) -> tuple[SequenceNetwork, Fitted]:
    """Fit the network; the same seed gives the same weights on the same machine.

    Where the truth changes along a sequence and the network reads one way, it is taught at every
    step of a window from the shortest on, else at the window's end. A regression with an
    interval keeps its last epoch, so that the held-out sequences, which calibrate the interval,
    have decided about nothing.

    Returns:
        The network, of logits or of standardised values: of its best epoch, its last one, or of
        as many epochs on both parts together (`refit`). How the first fit went.

    Raises:
        WrongOption: an option does not fit the data or the machine.
    """
    keep: Literal["best", "last"] = "last" if config.calibrates(sequences) else "best"
    if not config.options.refit:
        return _fitted(config, sequences, parts.train, parts.held_out, console, keep)
    if config.calibrates(sequences):
        raise WrongOption(
            "--refit: the interval is calibrated on sequences that training never saw. Leave it "
            "out, or the interval with --interval 0."
        )
    network, fitted = _fitted(config, sequences, parts.train, parts.held_out, console, keep)
    options = refit_options(config.options, fitted)
    both = np.concatenate([parts.train, parts.held_out])
    again = replace(config, options=options)
    network, more = _fitted(again, sequences, both, parts.held_out, console, "last")
    return network, replace(fitted, seconds=fitted.seconds + more.seconds)


def _fitted(
    config: Config,
    sequences: Sequences,
    train: NDArray[np.intp],
    held_out: NDArray[np.intp],
    console: Console,
    keep: Literal["best", "last"],
) -> tuple[SequenceNetwork, Fitted]:
    options, every = config.options, config.at_every_step(sequences)
    torch.manual_seed(options.seed)
    network = _network(config, sequences, train)
    lessons = [
        _lesson(windows_of(sequences, some, config.taught), sequences, train, config)
        for some in (train, held_out)
    ]
    deviation = network.channels.scale

    def noisy(window: Tensor) -> Tensor:
        return window + config.noise * deviation * torch.randn_like(window)

    fitted = fit(
        EveryStep(network) if every else network,
        loss=recurrent_losses.loss(sequences.task),
        score=recurrent_losses.score(sequences.task, unit_of(sequences, train)[1]),
        train=lessons[0],
        validation=lessons[1],
        options=options,
        title=config.name,
        console=console,
        training_loss=recurrent_losses.loss(sequences.task, _weights(config, sequences, train)),
        keep=keep,
        augment=noisy if config.noise else None,
    )
    return network, fitted


def _network(config: Config, sequences: Sequences, train: NDArray[np.intp]) -> SequenceNetwork:
    shift, scale = scaling_of(sequences, train, config.options.scaling)
    outputs = len(sequences.labels) or len(sequences.targets)
    shape = RecurrentConfig(
        config.cell, config.units, config.layers, config.bidirectional, config.pooling, outputs,
        config.options.dropout, config.truncate,
    )  # fmt: skip
    return SequenceNetwork(shift, scale, shape)


def _weights(config: Config, sequences: Sequences, train: NDArray[np.intp]) -> Tensor | None:
    """What a mistake costs by class; None of a regression."""
    said = config.options.class_weights
    if sequences.labels:
        truth = np.concatenate([sequences.truth[at] for at in train]).astype(np.int64)
        return torch.from_numpy(class_weights(said, sequences.labels, truth))
    if said != "none":
        raise WrongOption("--class-weights: a regression has no classes. Leave it out.")
    return None


def scaling_of(
    sequences: Sequences, train: NDArray[np.intp], scaling: str
) -> tuple[list[float], list[float]]:
    """Shift and scale of each channel, fitted on the steps of the training part alone."""
    steps = np.concatenate([sequences.series[at] for at in train]).astype(np.float64)
    low, high = steps.min(axis=0), steps.max(axis=0)
    shift, scale = {
        "none": (np.zeros_like(low), np.ones_like(low)),
        "minmax01": (low, high - low),
        "minmax11": ((low + high) / 2, (high - low) / 2),
        "standard": (steps.mean(axis=0), steps.std(axis=0)),
    }[scaling]
    # A channel that never changes has no extent to be divided by.
    return shift.tolist(), np.where(low < high, scale, 1.0).tolist()


def unit_of(
    sequences: Sequences, train: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each target is shifted and divided by: the ends of its bounds, where it has some.

    Else its mean and deviation over the steps of the training part; 0 and 1 of classes.
    """
    if sequences.labels:
        return np.zeros(1), np.ones(1)
    low, high = sequences.bounds
    if np.isfinite([low, high]).all():
        targets = len(sequences.targets)
        return np.full(targets, low), np.full(targets, high - low)
    known = np.concatenate([sequences.truth[at] for at in train]).astype(np.float64)
    scale = np.nanstd(known, axis=0)
    return np.nanmean(known, axis=0), np.where(scale > 0, scale, 1.0)


def answering(
    config: Config, sequences: Sequences, parts: Parts, network: SequenceNetwork
) -> tuple[nn.Module, Interval | None]:
    """The network with what makes an answer of it; the interval calibrated on the held-out part.

    Raises:
        WrongOption: too few sequences are held out for the interval.
    """
    if sequences.labels:
        return Probabilities(network), None
    shift, scale = (
        torch.tensor(one, dtype=torch.float32) for one in unit_of(sequences, parts.train)
    )
    plain = InUnits(network, shift, scale, sequences.bounds)
    if not config.calibrates(sequences):
        return plain, None
    taught, held = (
        windows_of(sequences, some, config.asked) for some in (parts.train, parts.held_out)
    )
    said = predicted(plain, taught)[0]
    knots, sizes = conformal.spread(said, said - taught.last.astype(np.float64))
    said = predicted(plain, held)[0]
    sizes_there = conformal.at(said, knots, sizes)
    scores = np.abs(said - held.last.astype(np.float64)) / sizes_there
    factors = conformal.factors(scores, held.owners, config.interval)
    widths = (torch.tensor(one, dtype=torch.float32) for one in (knots, sizes * factors))
    interval = Interval(
        lower="lower", upper="upper", level=config.interval, units=len(np.unique(held.owners)),
        margins=tuple((sizes_there * factors).mean(axis=0).tolist()),
    )  # fmt: skip
    return InUnits(network, shift, scale, sequences.bounds, tuple(widths)), interval  # type: ignore[arg-type]


def _lesson(
    windows: Windows, sequences: Sequences, train: NDArray[np.intp], config: Config
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows, lengths and what is wanted of them: at every step, or at their ends."""
    every = config.at_every_step(sequences)
    truth = windows.truth if every else windows.last
    wanted = torch.from_numpy(truth)
    if not sequences.labels:
        shift, scale = unit_of(sequences, train)
        wanted = torch.from_numpy(((truth - shift) / scale).astype(np.float32))
    if every:
        wanted[:, : config.shortest - 1] = float("nan") if wanted.is_floating_point() else -1
    return torch.from_numpy(windows.values), torch.from_numpy(windows.lengths), wanted
