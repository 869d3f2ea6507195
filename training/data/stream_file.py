"""Streams out of anybody's table: a line a step, its columns the sensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.sequences import BadSequences
from training.data.series_file import numbers, ordered
from training.data.streams import Streams
from training.data.table_files import Cells, read_table, taken_for_missing
from training.options import WrongOption

#: How a table says whether a step is an anomaly, in lower case.
_SAID = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True,
         "no": False, "yes": True, "normal": False, "anomaly": True}  # fmt: skip


def load(
    path: Path, label: str = "", sequence: str = "", time: str = "", drop: Sequence[str] = ()
) -> Streams:
    """Read streams from a CSV or Parquet file with a header row.

    Args:
        path: of the file.
        label: column that says which steps are anomalies (0 or 1); "" = none is known.
        sequence: column that says which stream a line belongs to; "" = all are one.
        time: column that orders the lines: numbers, or ISO 8601; "" = they are in order.
        drop: columns to leave out.

    Raises:
        WrongOption: there is no such file or column.
        BadFile, BadSequences: it cannot be read, or nothing can be learnt from it.
    """
    if not path.is_file():
        raise WrongOption(f"--data: '{path}' is neither a file nor a source that --help lists.")
    cells = read_table(path)
    named = {"--label": label, "--sequence": sequence, "--time": time}
    for flag, name in [*named.items(), *(("--drop", one) for one in drop)]:
        if name and name not in cells.columns:
            raise WrongOption(
                f"{flag}: '{path.name}' has no column {name!r}. It has {', '.join(cells.columns)}."
            )
    channels = tuple(one for one in cells.columns if one not in {*named.values(), *drop})
    if not channels:
        raise BadSequences(f"table '{path.name}': no channels are left. Drop fewer columns.")
    order = _order(cells, path.name, sequence, time)
    values = np.stack([numbers(cells, path.name, name) for name in channels], axis=1)
    wrong = _anomalous(cells, path.name, label)
    return Streams(
        name=path.name,
        sha256=cells.sha256,
        licence="the user's own",
        channels=channels,
        series=tuple(values[rows].astype(np.float32) for rows in order.values()),
        anomalous=tuple(wrong[rows] for rows in order.values()),
        ids=tuple(order),
    )


def _order(cells: Cells, name: str, sequence: str, time: str) -> dict[str, NDArray[np.intp]]:
    """Rows of each stream in the order of time."""
    lines = [str(line) for line in cells.lines]
    columns = dict(cells.columns)
    columns["one stream"] = [name] * len(lines)
    columns["its line"] = lines
    widened = Cells(columns, cells.lines, cells.sha256)
    return ordered(widened, name, sequence or "one stream", time or "its line")


def _anomalous(cells: Cells, name: str, label: str) -> NDArray[np.bool_]:
    if not label:
        return np.zeros(len(cells.lines), bool)
    said = [cell.lower() for cell in cells.columns[label]]
    for row, cell in enumerate(said):
        if cell not in _SAID or taken_for_missing(cell):
            raise BadSequences(
                f"table '{name}': line {cells.lines[row]}, column '{label}': got {cell!r:.60}, "
                "wanted 0 of a normal step, 1 of an anomaly. Mend the file."
            )
    return np.array([_SAID[cell] for cell in said], bool)
