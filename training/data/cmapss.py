"""Turbofan engines that run to failure: NASA's C-MAPSS, one of its sets FD001 to FD004.

Source: Saxena, Goebel, Simon and Eklund 2008, "Damage propagation modeling for aircraft engine
run-to-failure simulation", PHM08. The remaining useful life is held at 125 cycles, in training
and in test: before that an engine shows no wear (Heimes 2008, PHM08).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.sequences import BadSequences, Sequences
from training.options import WrongOption

LICENCE = "NASA Prognostics Data Repository, US government work"
#: Cycles that the remaining useful life is held at.
CAP = 125
SENSORS = tuple(f"s{number}" for number in range(1, 22))
#: unit, cycle, three settings; then the sensors.
_BEFORE = 5


def is_cmapss(folder: Path) -> bool:
    """Whether a folder holds one of the sets."""
    return folder.is_dir() and any(folder.glob("train_FD00?.txt"))


def load(folder: Path, which: str = "FD001") -> Sequences:
    """Load one of the sets: its training engines to their failure, its test engines cut before.

    Channels are the sensors that change at all in the training part.

    Args:
        folder: holds train_FD001.txt, test_FD001.txt and RUL_FD001.txt.
        which: FD001 to FD004.

    Raises:
        WrongOption: the folder has no such set.
        BadSequences: a file is not of this form.
    """
    files = [folder / f"{part}_{which}.txt" for part in ("train", "test", "RUL")]
    if missing := [file.name for file in files if not file.is_file()]:
        raise WrongOption(f"--data: folder '{folder}' lacks {', '.join(missing)}.")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    train, test, left = (_table(file) for file in files)
    changing = np.ptp(train[:, _BEFORE:], axis=0) > 0
    engines, ids, lives = [], [], []
    for part, table in (("train", train), ("test", test)):
        for unit in np.unique(table[:, 0]):
            rows = table[table[:, 0] == unit]
            engines.append(rows[:, _BEFORE:][:, changing].astype(np.float32))
            ids.append(f"{part} {unit:.0f}")
            lives.append(0.0 if part == "train" else float(left[int(unit) - 1, 0]))
    truth = [_remaining(len(one), life) for one, life in zip(engines, lives, strict=True)]
    return Sequences(
        name=f"C-MAPSS {which}",
        sha256=digest,
        licence=LICENCE,
        task="regress",
        channels=tuple(name for name, on in zip(SENSORS, changing, strict=True) if on),
        series=tuple(engines),
        truth=tuple(truth),
        ids=tuple(ids),
        targets=("remaining useful life",),
        unit="cycles",
        bounds=(0.0, float(CAP)),
        tested=np.array([one.startswith("test") for one in ids]),
        ends=True,
    )


def phm_score(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """The score of the PHM08 challenge: late predictions cost more than early ones; 0 is best.

    Args:
        predicted, true: remaining cycles, of any shape.
    """
    late = predicted - true
    return float(np.where(late < 0, np.exp(-late / 13), np.exp(late / 10)).sum() - late.size)


def _remaining(cycles: int, after: float) -> NDArray[np.float64]:
    """Cycles left at each of so many cycles, (T, 1), where `after` are left at the last."""
    left = np.arange(cycles - 1, -1, -1, dtype=np.float64) + after
    return np.minimum(left, CAP)[:, np.newaxis].astype(np.float64)


def _table(file: Path) -> NDArray[np.float64]:
    try:
        return np.loadtxt(file, ndmin=2)
    except ValueError as error:
        raise BadSequences(f"'{file.name}': no table of numbers ({error}).") from None
