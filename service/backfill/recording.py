"""Rows that were recorded: a CSV, NDJSON or Parquet file to times and the model's sensors."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.backfill.cells import Clock, Form, numbers, refused
from service.backfill.tables import Table, opened
from service.errors import MalformedBody, TensorMismatch

#: What the column of times is called, where nobody says it.
TIMES: Final = ("time", "timestamp", "datetime", "date")
#: Rows that are looked at to tell how numbers are written, and between two signs of life.
_SAMPLE: Final = 200
_TELL: Final = 5000
#: A unit behind a name: "Flow [l/min]".
_UNIT: Final = re.compile(r"\s*[\[(][^\])]*[\])]\s*$")


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows of one stream, oldest first as far as the file is.

    `times` are microseconds since 1970, `values` (n, C) with NaN where nothing was measured;
    `left_out` names columns of the file that were not read, and `notes` says in words what was
    told from the file. `truth` (n,) is true where a fault is known to be, if anybody knows.
    `labels` are the sensors' names with their units, where the file has these.
    """

    name: str
    times: list[int]
    values: NDArray[np.float32]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()
    truth: NDArray[np.bool_] | None = None
    labels: tuple[str, ...] = ()


def read(
    path: Path,
    sensors: Sequence[str],
    form: Form | None = None,
    on_share: Callable[[float], None] = lambda _: None,
) -> Recording:
    """Read a file.

    Args:
        path: .csv (comma, semicolon, tab), .ndjson, .jsonl or .parquet.
        sensors: names that the model knows; each must be a column. Upper and lower case, and a
            unit in brackets, may differ.
        form: how it is written, as far as that is known.
        on_share: told now and then what share of it is read, 0 to 1.

    Raises:
        MalformedBody: the file is not what its name says, or empty.
        TensorMismatch: a column is missing, or a cell is no number; the message names the row.
        InvalidParameter: the form is none.
        UnsupportedMediaType: another kind of file.
    """
    form = form or Form()
    with opened(path) as table:
        sample = list(islice(table.rows, _SAMPLE))
        if not sample:
            raise MalformedBody(f"{path}: has no rows.")
        columns = _Columns(path, table, len(sample[0][1]), sensors, form)
        cells = [str(row[at]) for _, row in sample for at in columns.sensors]
        number = numbers(form, cells, table.separator)
        times, values, known = array("q"), array("f"), array("b")
        clock = Clock(form)
        for at, (place, row) in enumerate(chain(sample, table.rows)):
            where = f"{path}: {place}"
            times.append(_time(where, clock, columns, row))
            values.extend(_values(where, sensors, columns.sensors, number, row))
            if columns.truth is not None:
                (said,) = _values(where, ["what is known"], [columns.truth], number, row)
                known.append(said > 0)
            if at % _TELL == 0:
                on_share(table.done)
    table_of = np.frombuffer(values, np.float32).reshape(-1, len(sensors))
    moments = np.frombuffer(times, np.int64)
    truth = np.frombuffer(known, np.bool_) if columns.truth is not None else None
    notes = columns.notes
    if len(moments) > 1 and moments[0] > moments[-1] and (np.diff(moments) <= 0).all():
        moments, table_of = moments[::-1], table_of[::-1]
        truth = None if truth is None else truth[::-1]
        notes = [*notes, "the newest row stood first: read from the end"]
    return Recording(
        path.stem, moments.tolist(), np.ascontiguousarray(table_of), columns.left_out,
        tuple(notes), truth, columns.labels(sensors),
    )  # fmt: skip


class _Columns:
    """Where in a row what stands.

    Attributes:
        time: places of the parts of the time.
        sensors: places of the sensors.
        truth: place of what is known of faults.
        left_out: names of all others.
        notes: what was told from the file.
    """

    def __init__(
        self, path: Path, table: Table, width: int, sensors: Sequence[str], form: Form
    ) -> None:
        self._path, self._header = path, table.header
        self.notes: list[str] = []
        if not table.header:
            self._by_place(width, sensors, form)
            return
        self.time = self._times(form.time)
        self.sensors = [self._sensor(name, form.columns) for name in sensors]
        missing = [n for n, at in zip(sensors, self.sensors, strict=True) if at < 0]
        if missing:
            raise TensorMismatch(
                f"{path}: sensors {', '.join(missing)} are no columns; there are "
                f"{', '.join(table.header)}. Say which column is which: --column "
                f"'{missing[0]}={table.header[-1]}'."
            )
        self.truth = None if form.truth is None else self._named(form.truth, "--truth")
        used = {*self.time, *self.sensors, self.truth}
        self.left_out = tuple(n for at, n in enumerate(table.header) if at not in used)

    def labels(self, sensors: Sequence[str]) -> tuple[str, ...]:
        """Names of the sensors, with their units where the columns have them."""
        if not self._header:
            return tuple(sensors)
        columns = [self._header[at] for at in self.sensors]
        return tuple(
            column if _plain(column) == _plain(name) else name
            for column, name in zip(columns, sensors, strict=True)
        )

    def _by_place(self, width: int, sensors: Sequence[str], form: Form) -> None:
        self.time, self.sensors = [0], list(range(1, 1 + len(sensors)))
        self.truth, self.left_out = None, ()
        if form.time or form.columns or form.truth:
            raise TensorMismatch(f"{self._path}: has no header, and so no columns by name.")
        if width != 1 + len(sensors):
            raise TensorMismatch(
                f"{self._path}: has no header and {width} columns; wanted a header, or the time "
                f"and then {', '.join(sensors)}."
            )
        self.notes.append(f"no header: columns are taken for time, {', '.join(sensors)}")

    def _times(self, wanted: str | None) -> list[int]:
        if wanted is not None:
            if wanted in self._header:
                return [self._header.index(wanted)]
            return [self._named(part.strip(), "--time") for part in wanted.split("+")]
        for name in TIMES:
            for at, column in enumerate(self._header):
                if column.casefold() == name:
                    return [at]
        raise TensorMismatch(
            f"{self._path}: no column time; there are {', '.join(self._header)}. Say which "
            "holds the times: --time COLUMN."
        )

    def _named(self, name: str, option: str) -> int:
        if name not in self._header:
            raise TensorMismatch(
                f"{self._path}: no column {name}; there are {', '.join(self._header)}. Say "
                f"another: {option} COLUMN."
            )
        return self._header.index(name)

    def _sensor(self, sensor: str, given: dict[str, str]) -> int:
        if sensor in given:
            return self._named(given[sensor], f"--column '{sensor}=COLUMN', not")
        if sensor in self._header:
            return self._header.index(sensor)
        alike = [at for at, name in enumerate(self._header) if _plain(name) == _plain(sensor)]
        if len(alike) != 1:
            return -1
        self.notes.append(f"column '{self._header[alike[0]]}' is taken for {sensor}")
        return alike[0]


def _plain(name: str) -> str:
    return _UNIT.sub("", name).casefold().replace("_", " ").strip()


def _time(where: str, clock: Clock, columns: _Columns, row: Sequence[Any]) -> int:
    parts = [row[at] for at in columns.time]
    cell = parts[0] if len(parts) == 1 else " ".join(map(str, parts))
    try:
        return clock.read(cell)
    except (ValueError, OverflowError) as error:
        raise refused(
            where, "time", cell,
            f"wanted RFC 3339 such as 2026-03-01T12:00:00Z, or seconds since 1970: {error}",
        ) from None  # fmt: skip


def _values(
    where: str, sensors: Sequence[str], places: Sequence[int], number: Callable[[Any], float],
    row: Sequence[Any],
) -> list[float]:  # fmt: skip
    try:
        return [number(row[at]) for at in places]
    except (TypeError, ValueError):
        for name, at in zip(sensors, places, strict=True):
            try:
                number(row[at])
            except (TypeError, ValueError):
                raise refused(
                    where, name, row[at],
                    "wanted a number, or an empty cell where nothing was measured (--missing WORD "
                    "for another word)",
                ) from None  # fmt: skip
        raise
