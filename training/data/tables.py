"""Tables: those inside scikit-learn, and anybody's CSV or Parquet file.

A table has columns of numbers and of kinds (texts, numbered in the order of the alphabet), gaps
in both, and one column more, the target. Bad tables are refused here, before anything is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

from training.data.table_columns import BadTable, Task, truth_of, values_of
from training.data.table_files import Cells, read_table, taken_for_missing
from training.options import WrongOption

#: Tables inside scikit-learn: what they are for, and where they come from.
BUNDLED: dict[str, tuple[Task, str]] = {
    "breast_cancer": ("classify", "doi 10.24432/C5DW2B"),
    "wine": ("classify", "doi 10.24432/C5PC7J"),
    "digits": ("classify", "doi 10.24432/C50P49"),
    "diabetes": ("regress", "Efron et al. 2004, Annals of Statistics 32(2)"),
}
#: Rows of each class, so that every part of the split has one.
FEWEST_ROWS = 5
#: The split does not follow the training seed: accuracies of several seeds compare.
SPLIT_SEED = 20


@dataclass(frozen=True, slots=True)
class Table:
    """A table that was read.

    Attributes:
        rows: (n, D) FP32; kinds by their number, NaN = a gap among numbers.
        kinds: by the index of a categorical column, the names of the kinds 0, 1, ...; a gap is
            the kind MISSING_KIND.
        truth: (n,) INT64 indices of `labels`, or (n, 1) FP64 values.
        labels: of the classes; none for regression.
        sha256: of the file, or of the bundled numbers, row-major, rows then truth.
    """

    name: str
    sha256: str
    licence: str
    task: Task
    columns: tuple[str, ...]
    rows: NDArray[np.float32]
    kinds: dict[int, tuple[str, ...]]
    target: str
    truth: NDArray[np.int64] | NDArray[np.float64]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows are in which part: 60 % train, 20 % validation, 20 % test, by class."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def load(
    source: str,
    target: str | None = None,
    task: Literal["auto", "classify", "regress"] = "auto",
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    skip_missing_target: bool = False,
) -> Table:
    """Read a table.

    Args:
        source: one of BUNDLED, or the path of a CSV or Parquet file with a header row.
        target: the column to predict; a bundled table has its own.
        task: auto: texts, and whole numbers of few values, are classes; other numbers values.
        drop: columns to leave out.
        categorical: columns whose numbers only name kinds.
        skip_missing_target: leave out rows whose target is a gap, instead of refusing them.

    Raises:
        WrongOption: there is no such file or column.
        BadTable, BadFile: it cannot be read, or nothing can be learnt from it; the message says
            which column or line.
    """
    if source in BUNDLED:
        if target is not None:
            raise WrongOption(f"--target: table '{source}' has its own. Leave it out.")
        return _bundled(source, task)
    path = Path(source)
    if not path.is_file():
        raise WrongOption(
            f"--data: '{source}' is no file. Name a CSV or Parquet file, or one of "
            f"{', '.join(BUNDLED)}."
        )
    return _from_file(path, target, task, drop, categorical, skip_missing_target)


def split(table: Table, seed: int = SPLIT_SEED) -> Split:
    """Which rows are for what.

    Raises:
        BadTable: there are too few of a class, or in all.
    """
    rows = np.arange(len(table.rows))
    if len(rows) < 4 * FEWEST_ROWS:
        raise BadTable(
            f"table '{table.name}': got {len(rows)} rows, wanted at least {4 * FEWEST_ROWS}."
        )
    stratify = None
    if table.task == "classify":
        stratify = table.truth
        counts = np.bincount(table.truth.astype(np.int64), minlength=len(table.labels))
        few = np.flatnonzero(counts < FEWEST_ROWS)
        rare = [f"'{table.labels[at]}' ({counts[at]})" for at in few[:5]]
        if rare:
            raise BadTable(
                f"table '{table.name}', target '{table.target}': classes with fewer than "
                f"{FEWEST_ROWS} rows: {', '.join(rare)}{', ...' if len(few) > 5 else ''}. "
                "Collect more of them, or join classes."
            )
    rest, test = train_test_split(rows, test_size=0.2, stratify=stratify, random_state=seed)
    left = None if stratify is None else stratify[rest]
    train, validation = train_test_split(rest, test_size=0.25, stratify=left, random_state=seed)
    return Split(train, validation, test)


def _bundled(name: str, task: str) -> Table:
    kind, origin = BUNDLED[name]
    if task not in ("auto", kind):
        raise WrongOption(f"--task: table '{name}' is for {kind}, not {task}.")
    bunch = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    rows = np.ascontiguousarray(bunch.data, np.float32)
    truth: NDArray[np.int64] | NDArray[np.float64] = (
        bunch.target.astype(np.int64)
        if kind == "classify"
        else bunch.target.astype(np.float64)[:, np.newaxis]
    )
    return Table(
        name=f"scikit-learn {name}",
        sha256=hashlib.sha256(rows.tobytes() + truth.tobytes()).hexdigest(),
        licence=f"inside scikit-learn (BSD-3-Clause); {origin}",
        task=kind,
        columns=tuple(str(one) for one in bunch.feature_names),
        rows=rows,
        kinds={},
        target="progression" if name == "diabetes" else "class",
        truth=truth,
        labels=tuple(str(one) for one in bunch.target_names) if kind == "classify" else (),
    )


def _from_file(
    path: Path,
    target: str | None,
    task: str,
    drop: Sequence[str],
    categorical: Sequence[str],
    skip_missing_target: bool,
) -> Table:
    cells = read_table(path)
    where = f"table '{path.name}'"
    names = ", ".join(cells.columns)
    if target is None:
        raise WrongOption(f"--target: which column of '{path.name}' is to be predicted? {names}")
    for flag, wanted in (("target", [target]), ("drop", drop), ("categorical", categorical)):
        for name in wanted:
            if name not in cells.columns:
                raise WrongOption(f"--{flag}: {where} has no column '{name}', but: {names}")
    if target in drop:
        raise WrongOption(f"--drop: '{target}' is the target.")
    cells = _with_target(cells, where, target, skip_missing_target)
    kind, truth, labels = truth_of(cells.columns[target], where, target, task)
    rows, kinds = [], {}
    left = [name for name in cells.columns if name != target and name not in drop]
    if not left:
        raise BadTable(f"{where}: there is no column besides the target '{target}'.")
    for at, name in enumerate(left):
        values, known = values_of(cells, where, name, name in categorical)
        rows.append(values)
        if known:
            kinds[at] = known
    return Table(
        name=path.name,
        sha256=cells.sha256,
        licence="the user's own",
        task=kind,
        columns=tuple(left),
        rows=np.stack(rows, axis=1),
        kinds=kinds,
        target=target,
        truth=truth,
        labels=labels,
    )


def _with_target(cells: Cells, where: str, target: str, skip: bool) -> Cells:
    """The rows whose target is known."""
    gaps = [at for at, cell in enumerate(cells.columns[target]) if taken_for_missing(cell)]
    if not gaps:
        return cells
    lines = ", ".join(str(cells.lines[at]) for at in gaps[:5])
    if not skip:
        raise BadTable(
            f"{where}: target '{target}' is missing in {len(gaps)} rows (lines {lines}"
            f"{', ...' if len(gaps) > 5 else ''}). Fill it, or leave such rows out with "
            "--skip-missing-target."
        )
    left = np.setdiff1d(np.arange(len(cells.lines)), gaps)
    if not len(left):
        raise BadTable(f"{where}: target '{target}' is missing in every row.")
    return cells.some(left.tolist())
