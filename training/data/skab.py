"""SKAB: 34 runs of a water circuit with a fault in each, and one long run without any.

Source: I. Katser and V. Kozitsin 2020, "Skoltech Anomaly Benchmark (SKAB)", doi
10.34740/KAGGLE/DSV/1693952; https://github.com/waico/SKAB, folder `data`. The user brings the
folder: it is under the GPL-3.0, and nothing of it is shipped here.

Its protocol: of each run the first 400 rows are learnt from and the others tested; the points of
all runs count together, each by itself. Know its flaws: 54 % of the tested points are anomalies,
nearly all between the rows 170 and 570 of the tested part, and 296 points to learn from are
anomalies as well, which a learner is not told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.digits import DataMismatch
from training.data.sequences import BadSequences
from training.data.table_files import Cells, read_table
from training.options import WrongOption

LICENCE = "GPL-3.0 (https://github.com/waico/SKAB), for tests only"
SENSORS = (
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure", "Temperature",
    "Thermocouple", "Voltage", "Volume Flow RateRMS",
)  # fmt: skip
UNITS = ("g", "g", "A", "bar", "degC", "degC", "V", "l/min")
#: Runs of each folder, numbered from the first to the last.
FOLDERS = {"valve1": range(16), "valve2": range(4), "other": range(1, 15)}
FREE = "anomaly-free/anomaly-free.csv"
#: Rows of each run that are learnt from.
LEARNT = 400
#: Of all files, in the order of `_files`, as of commit b2c0d46 of 2024-08-11.
SHA256 = "8386908c3b0e0a9a83a5ca4a2167d8c9e0b64276109d6766aaea0704f8c8c25a"


@dataclass(frozen=True, slots=True)
class Run:
    """A run, a row a second; some seconds are missing.

    Attributes:
        name: folder and number, `valve1/0`.
        rows: (T, 8) FP32 of `SENSORS` in `UNITS`.
        anomalous: (T,) which rows are anomalies.
    """

    name: str
    rows: NDArray[np.float32]
    anomalous: NDArray[np.bool_]

    @property
    def tested(self) -> NDArray[np.bool_]:
        """(T - 400,) which of the tested rows are anomalies."""
        return self.anomalous[LEARNT:]


@dataclass(frozen=True, slots=True)
class Skab:
    """All of it: 34 runs with a fault, and one without."""

    runs: tuple[Run, ...]
    free: Run
    sha256: str


def load(root: Path) -> Skab:
    """Read all runs.

    Args:
        root: the folder `data` of the repository.

    Raises:
        WrongOption: it is no such folder, or incomplete.
        BadFile, BadSequences: a file in it is broken; the message says the line.
        DataMismatch: it is another version, with which no figure would compare.
    """
    missing = [name for name in _files() if not (root / name).is_file()]
    if missing:
        raise WrongOption(
            f"--data: folder '{root}' lacks {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if missing[3:] else ''}, wanted the folder 'data' "
            "of https://github.com/waico/SKAB."
        )
    tables = {name: read_table(root / name) for name in _files()}
    digest = hashlib.sha256("".join(one.sha256 for one in tables.values()).encode()).hexdigest()
    if digest != SHA256:
        raise DataMismatch(
            f"SKAB in '{root}': got SHA-256 {digest}, wanted {SHA256}. Check out commit b2c0d46 of "
            "https://github.com/waico/SKAB."
        )
    runs = {name: _run(name, table) for name, table in tables.items()}
    free = runs.pop(FREE)
    return Skab(tuple(runs.values()), free, digest)


def _files() -> Iterator[str]:
    for folder, numbers in FOLDERS.items():
        for number in numbers:
            yield f"{folder}/{number}.csv"
    yield FREE


def _run(name: str, table: Cells) -> Run:
    wanted = [*SENSORS, *(() if name == FREE else ("anomaly",))]
    if lacking := [column for column in wanted if column not in table.columns]:
        raise BadSequences(f"table '{name}': no column {lacking[0]!r}. Use the whole data set.")
    values = np.stack([_numbers(name, table, column) for column in wanted], axis=1)
    anomalous = np.asarray((values[:, len(SENSORS) :] > 0).any(axis=1), np.bool_)
    rows = values[:, : len(SENSORS)].astype(np.float32)
    return Run(name.removesuffix(".csv"), rows, anomalous)


def _numbers(name: str, table: Cells, column: str) -> NDArray[np.float64]:
    cells = table.columns[column]
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError as error:
        raise BadSequences(f"table '{name}', column '{column}': {error}.") from None
    if not np.isfinite(values).all():
        line = table.lines[int(np.argmin(np.isfinite(values)))]
        raise BadSequences(f"table '{name}': line {line}, column '{column}': no finite number.")
    return values
