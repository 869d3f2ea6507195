"""Rows that were recorded: a CSV, NDJSON or Parquet file to times and the model's sensors."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import MalformedBody, TensorMismatch, UnsupportedMediaType
from service.protocol.stream_rows import event_time

#: What the column of times is called, where nobody says it.
TIMES: Final = ("time", "timestamp", "datetime", "date")
_GAPS: Final = frozenset({"", "nan", "na", "null"})


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows of one stream, in the order of the file.

    `times` are microseconds since 1970, `values` (n, C) with NaN where nothing was measured;
    `left_out` names columns of the file that are no sensors of the model.
    """

    name: str
    times: list[int]
    values: NDArray[np.float32]
    left_out: tuple[str, ...]


def read(path: Path, sensors: Sequence[str], time: str | None = None) -> Recording:
    """Read a file.

    Args:
        path: .csv (comma, semicolon or tab), .ndjson, .jsonl or .parquet.
        sensors: names that the model knows; each must be a column.
        time: the column of times; None = the first of `TIMES` that is there. A time without an
            offset from UTC is taken for UTC.

    Raises:
        MalformedBody: the file is not what its name says, or empty.
        TensorMismatch: a column is missing, or a cell is no number; the message names the row.
        UnsupportedMediaType: another kind of file.
    """
    readers = {".csv": _csv, ".ndjson": _lines, ".jsonl": _lines, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UnsupportedMediaType(f"{path}: wanted .csv, .ndjson, .jsonl or .parquet.")
    rows = reader(path)
    first = next(rows, None)
    if first is None:
        raise MalformedBody(f"{path}: has no rows.")
    column = _time_column(path, list(first), time)
    missing = [name for name in sensors if name not in first]
    if missing:
        raise TensorMismatch(
            f"{path}: sensors {', '.join(missing)} are no columns; there are {', '.join(first)}. "
            "Name the columns as the model names its sensors."
        )
    times, cells = [], []
    for at, row in enumerate(_again(first, rows)):
        times.append(event_time(row[column], at, naive=True))
        cells.append([_number(path, at, name, row.get(name)) for name in sensors])
    left_out = tuple(name for name in first if name != column and name not in sensors)
    return Recording(path.stem, times, np.array(cells, np.float32), left_out)


def _time_column(path: Path, columns: list[str], wanted: str | None) -> str:
    named = [wanted] if wanted else [c for c in TIMES if c in columns]
    if not named or named[0] not in columns:
        raise TensorMismatch(
            f"{path}: no column {wanted or 'time'}; there are {', '.join(columns)}. Say which "
            "holds the times: --time COLUMN."
        )
    return named[0]


def _again(first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rows


def _number(path: Path, at: int, name: str, cell: Any) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _GAPS):
        return float("nan")
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise TensorMismatch(
            f"{path}: row {at}: {name}: got {str(cell)[:40]!r}, wanted a number, or an empty cell."
        ) from None


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        separator = max(",;\t", key=head.count)
        try:
            for row in csv.DictReader(file, delimiter=separator, strict=True):
                row.pop(None, None)
                yield dict(row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise MalformedBody(f"{path}: not CSV ({error}).") from None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise MalformedBody(f"{path}: line {number}: not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise MalformedBody(f"{path}: line {number}: wanted an object.")
            yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedMediaType(
            f"{path}: Parquet needs a package that is not installed: pip install "
            "'glassline[batch]'. Or write the rows as .csv."
        ) from None
    for batch in parquet.ParquetFile(path).iter_batches():
        for row in batch.to_pylist():
            yield {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()}
