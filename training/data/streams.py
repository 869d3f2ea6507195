"""Streams of sensor values, and the windows of a detector that are cut from them.

A window that ends at a step says something about that step and looks at nothing after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from service.inference.windows import interpolated
from training.data.one_class import BadNormal, OneClass
from training.data.sequences import SPLIT_SEED, BadSequences, Gaps

#: Shares of what is anomaly-free: to learn from, held back, to calibrate on; the rest is tested.
SHARES = (0.55, 0.15, 0.2)
PARTS = ("train", "held", "calibration", "test")
#: With so many anomaly-free streams, whole ones go into a part.
WHOLE = 10


@dataclass(frozen=True, slots=True)
class Streams:
    """Streams of C channels in the order of time.

    Attributes:
        series: (T_i, C) FP32 in the channels' units, NaN = a gap.
        anomalous: (T_i,) of each, whether the step is known to be an anomaly.
        ids: what each is called.
    """

    name: str
    sha256: str
    licence: str
    channels: tuple[str, ...]
    series: tuple[NDArray[np.float32], ...]
    anomalous: tuple[NDArray[np.bool_], ...]
    ids: tuple[str, ...]


def one_class(streams: Streams, steps: int, stride: int, gaps: Gaps) -> OneClass:
    """Cut windows, and split what is anomaly-free by stream, or by time within each.

    By stream where there are ten or more without an anomaly; else the first of each stream's
    anomaly-free steps train, and so on in the order of time. No window of the three anomaly-free
    parts holds a step of another one or an anomaly.

    Args:
        streams: what was recorded.
        steps: of a window.
        stride: steps between the ends of two windows of a stream.
        gaps: what becomes of gaps.

    Raises:
        BadSequences: there are gaps and they are refused, or a channel is empty.
        BadNormal: a channel never changes, or a part has too few windows.
    """
    series = [_filled(streams, at, gaps) for at in range(len(streams.series))]
    parts, by = _parts(streams)
    cut: dict[str, list[tuple[int, int]]] = {part: [] for part in PARTS}
    for at, one in enumerate(series):
        for end in range(len(one), steps - 1, -stride):
            which = parts[at][end - steps : end]
            if which[-1] == PARTS.index("test") or (which == which[0]).all():
                cut[PARTS[which[-1]]].append((at, end))
    windows = {
        part: _stacked([series[at][end - steps : end] for at, end in sorted(ends)], steps,
                       len(streams.channels))
        for part, ends in cut.items()
    }  # fmt: skip
    tested = sorted(cut["test"])
    _moving(streams, windows["train"])
    notes: dict[str, JsonValue] = {"streams": len(series), "window": steps, "stride": stride}
    return OneClass(
        train=windows["train"],
        held=windows["held"],
        calibration=windows["calibration"],
        test=windows["test"],
        name=streams.name,
        sha256=streams.sha256,
        licence=streams.licence,
        anomalous=np.array([streams.anomalous[at][end - 1] for at, end in tested], bool),
        split=f"anomaly-free {by}: {_percent()}; the rest and all anomalies are tested",
        channels=streams.channels,
        shown=[f"{streams.ids[at]}, step {end - 1}" for at, end in tested],
        notes=notes,
    )


def _parts(streams: Streams) -> tuple[list[NDArray[np.intp]], Literal["streams", "steps"]]:
    """For each step of each stream the part that it is in, an index of PARTS."""
    test = PARTS.index("test")
    parts = [np.full(len(one), test) for one in streams.series]
    normal = [at for at, one in enumerate(streams.anomalous) if not one.any()]
    bounds = np.cumsum(SHARES)
    if len(normal) >= WHOLE:
        order = np.random.default_rng(SPLIT_SEED).permutation(normal)
        for rank, at in enumerate(order):
            parts[at][:] = np.searchsorted(bounds, (rank + 0.5) / len(order))
        return parts, "streams"
    for at, anomalous in enumerate(streams.anomalous):
        free = np.flatnonzero(~anomalous)
        parts[at][free] = np.searchsorted(bounds, (np.arange(len(free)) + 0.5) / max(1, len(free)))
    return parts, "steps"


def _percent() -> str:
    return ", ".join(f"{share:.0%} {part}" for share, part in zip(SHARES, PARTS, strict=False))


def _stacked(windows: list[NDArray[np.float32]], steps: int, channels: int) -> NDArray[np.float32]:
    return np.stack(windows) if windows else np.zeros((0, steps, channels), np.float32)


def _filled(streams: Streams, at: int, gaps: Gaps) -> NDArray[np.float32]:
    """A stream without gaps."""
    one = streams.series[at]
    missing = np.argwhere(np.isnan(one))
    if not len(missing):
        return one
    step, channel = missing[0]
    where = f"'{streams.name}': stream '{streams.ids[at]}'"
    if gaps == "refuse":
        raise BadSequences(
            f"{where}: channel '{streams.channels[channel]}' has a gap at step {step}, one of "
            f"{len(missing)}. Fill it, or have gaps filled in training: --gaps interpolate."
        )
    try:
        filled: NDArray[np.float32] = interpolated(one[np.newaxis], np.array([len(one)]))[0][0]
        return filled
    except ValueError as error:
        raise BadSequences(
            f"{where}: channel '{streams.channels[error.args[1]]}' has no value at all. Leave the "
            "stream out, or the channel with --drop."
        ) from None


def _moving(streams: Streams, train: NDArray[np.float32]) -> None:
    """Refuse channels that teach nothing."""
    if not len(train):
        return
    still = np.flatnonzero(np.ptp(train.reshape(-1, train.shape[-1]), axis=0) == 0)
    if len(still):
        names = ", ".join(f"'{streams.channels[at]}'" for at in still[:5])
        only = "it has" if len(still) == 1 else "each of them has"
        raise BadNormal(
            f"'{streams.name}': {names} never changes in the training part: {only} one value, so "
            "that nobody can say how far another one is off. Leave it out: --drop "
            f"{','.join(streams.channels[at] for at in still)}."
        )
