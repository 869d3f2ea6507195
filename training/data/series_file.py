"""Sequences out of anybody's table: `id, time, channels..., target`, a line a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data.sequences import BadSequences, Sequences
from training.data.table_files import Cells, read_table, taken_for_missing
from training.options import WrongOption

#: A whole-number target with at most so many values is taken for classes.
MOST_CLASSES = 20


def load(
    path: Path,
    target: str | None,
    task: Literal["auto", "classify", "regress", "forecast"] = "auto",
    sequence: str = "id",
    time: str = "time",
    drop: Sequence[str] = (),
) -> Sequences:
    """Read sequences from a CSV or Parquet file with a header row.

    Lines of one sequence need not stand together; they are put in the order of their time.

    Args:
        path: of the file.
        target: column to predict. To forecast it is a channel; see `sequences.forecast`.
        task: auto: texts, and whole numbers of few values, are classes; other numbers values.
        sequence: column that says which sequence a line belongs to.
        time: column that orders the lines of a sequence: numbers, or ISO 8601.
        drop: columns to leave out.

    Raises:
        WrongOption: there is no such file or column.
        BadFile, BadSequences: it cannot be read, or nothing can be learnt from it; the message
            says which line.
    """
    if not path.is_file():
        raise WrongOption(f"--data: '{path}' is no file.")
    cells = read_table(path)
    wanted = {"--sequence": sequence, "--time": time}
    if target is None:
        raise WrongOption(
            f"--target: which column of '{path.name}' is to be predicted? "
            f"{', '.join(cells.columns)}"
        )
    for flag, name in {
        **wanted,
        "--target": target,
        **{f"--drop {one}": one for one in drop},
    }.items():
        if name not in cells.columns:
            raise WrongOption(
                f"{flag.split()[0]}: '{path.name}' has no column {name!r}. It has "
                f"{', '.join(cells.columns)}."
            )
    held = {*wanted.values(), *drop, *(() if task == "forecast" else (target,))}
    channels = tuple(name for name in cells.columns if name not in held)
    if not channels:
        raise BadSequences(f"table '{path.name}': no channels are left besides {sorted(held)}.")
    order = ordered(cells, path.name, sequence, time)
    values = np.stack([numbers(cells, path.name, name) for name in channels], axis=1)
    series = tuple(values[rows].astype(np.float32) for rows in order.values())
    labels: tuple[str, ...] = ()
    kind: Literal["classify", "regress"] = "regress"
    if task == "forecast":
        truth = np.full((len(values), 1), np.nan)
    else:
        kind, truth, labels = _truth(cells, path.name, target, task)
    return Sequences(
        name=path.name,
        sha256=cells.sha256,
        licence="the user's own",
        task=kind,
        channels=channels,
        series=series,
        truth=tuple(truth[rows] for rows in order.values()),
        ids=tuple(order),
        targets=() if labels else (target,),
        labels=labels,
    )


def ordered(cells: Cells, name: str, sequence: str, time: str) -> dict[str, NDArray[np.intp]]:
    """Rows of each sequence in the order of time.

    Raises:
        BadSequences: a line says neither, or two lines of a sequence say the same time.
    """
    moments = _moments(cells, name, time)
    rows: dict[str, list[int]] = {}
    for row, owner in enumerate(cells.columns[sequence]):
        if taken_for_missing(owner):
            raise BadSequences(
                f"table '{name}': line {cells.lines[row]}: column '{sequence}' is empty, wanted "
                "the sequence that the line belongs to. Mend the file."
            )
        rows.setdefault(owner, []).append(row)
    ordered = {}
    for owner, some in rows.items():
        at = np.array(some)[np.argsort(moments[some], kind="stable")]
        same = np.flatnonzero(np.diff(moments[at]) == 0)
        if len(same):
            first, second = (cells.lines[row] for row in sorted(at[same[0] : same[0] + 2]))
            raise BadSequences(
                f"table '{name}': lines {first} and {second}: sequence '{owner}' has the time "
                f"{cells.columns[time][at[same[0]]]!r} twice. Keep one of them."
            )
        ordered[owner] = at
    return ordered


def _moments(cells: Cells, name: str, time: str) -> NDArray[np.float64]:
    column = cells.columns[time]
    try:
        moments = np.array([float(cell) for cell in column])
    except ValueError:
        try:
            moments = np.array(column, "datetime64[us]").astype(np.float64)
        except ValueError:
            odd = next(row for row, cell in enumerate(column) if not _is_moment(cell))
            raise BadSequences(
                f"table '{name}': line {cells.lines[odd]}, column '{time}': got "
                f"{column[odd]!r:.60}, wanted a number, or a time as 2026-11-25T22:00:00."
            ) from None
    if not np.isfinite(moments).all():
        odd = int(np.argmin(np.isfinite(moments)))
        raise BadSequences(
            f"table '{name}': line {cells.lines[odd]}, column '{time}': got {column[odd]!r:.60}, "
            "wanted a finite number."
        )
    return moments


def _is_moment(cell: str) -> bool:
    try:
        np.datetime64(cell)
    except ValueError:
        return False
    return True


def numbers(cells: Cells, name: str, column: str) -> NDArray[np.float64]:
    """A column's values, NaN where there is a gap."""
    values = np.full(len(cells.lines), np.nan)
    for row, cell in enumerate(cells.columns[column]):
        if taken_for_missing(cell):
            continue
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.inf
        if abs(values[row]) > np.finfo(np.float32).max:
            raise BadSequences(
                f"table '{name}': line {cells.lines[row]}, column '{column}': got {cell!r:.60}, "
                f"wanted a finite number of FP32. Mend the file, or leave it out: --drop {column}."
            )
    if np.isnan(values).all():
        raise BadSequences(
            f"table '{name}': column '{column}' is empty in every line. Leave it out: --drop "
            f"{column}."
        )
    return values


def _truth(
    cells: Cells, name: str, target: str, task: str
) -> tuple[
    Literal["classify", "regress"], NDArray[np.int64] | NDArray[np.float64], tuple[str, ...]
]:
    """What the target column says of each line: (n,) classes, or (n, 1) values."""
    column = cells.columns[target]
    if gaps := [row for row, cell in enumerate(column) if taken_for_missing(cell)]:
        raise BadSequences(
            f"table '{name}': line {cells.lines[gaps[0]]}: target '{target}' is empty"
            f"{f', as in {len(gaps) - 1} more lines' if gaps[1:] else ''}. Fill it, or leave "
            "the lines out."
        )
    numeric = all(_is_number(cell) for cell in column)
    whole = numeric and all(float(cell).is_integer() for cell in column)
    classes = task == "classify" or (
        task == "auto" and (not numeric or (whole and len(set(column)) <= MOST_CLASSES))
    )
    if not classes:
        return "regress", numbers(cells, name, target)[:, np.newaxis], ()
    labels = tuple(sorted(set(column), key=(lambda one: float(one)) if numeric else str))
    if len(labels) < 2:
        raise BadSequences(
            f"table '{name}': target '{target}' is {labels[0]!r} in every line, wanted two classes "
            "or more."
        )
    number = {label: at for at, label in enumerate(labels)}
    return "classify", np.array([number[cell] for cell in column], np.int64), labels


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
