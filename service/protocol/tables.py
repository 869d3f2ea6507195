"""CSV bodies: rows of numbers to the model's one input tensor.

Source: RFC 4180 (rows, quoting, the `header` parameter). Decoding only, no arithmetic on the
values: scaling and filling of gaps are the model's or the caller's business.
"""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedBody, TensorMismatch, TooLarge
from service.manifest import Manifest, SequenceMedia
from service.protocol.cells import is_number, or_gap, strictly
from service.protocol.datatypes import DTYPES
from service.protocol.signature import Slot, listed, shown, signature_of

#: array codes that hold any value of these kinds of dtype in 8 bytes.
_CODES: Final = {"f": "d", "i": "q", "u": "Q"}


def takes_table(manifest: Manifest) -> bool:
    """Whether a model reads tables: one numeric input of (n), (n, F) or (n, T, F).

    The lengths of windows are read off the table; in a table of states every action is legal.
    """
    if not manifest.alone:
        return False
    tensor = manifest.inputs[0]
    return DTYPES[tensor.datatype].kind in _CODES and len(tensor.shape) <= 3


def decode_csv(
    text: str, manifest: Manifest, max_rows: int, header: bool | None = None
) -> dict[str, NDArray[Any]]:
    """Decode a table into the model's inputs.

    Each line is a row of the batch. Where the input is (n, T, F), each line is a moment, T of
    them in a row are a window, and an empty line stands between two windows. Windows may have
    several lengths where the manifest has `SequenceMedia`; empty cells are gaps where it
    interpolates them.

    Columns are matched by name where there is a header row, whatever their order; else their
    number and order are the manifest's.

    Args:
        text: RFC 4180, any line ending; empty lines at the end are ignored.
        manifest: of a model that `takes_table`.
        max_rows: largest batch.
        header: whether the first row names columns; None: it does unless its cells are numbers.

    Returns:
        (n), (n, F) or (n, T, F) in the input's dtype, n >= 1, by name; and lengths (n,) where the
        windows are not all as long as the longest.

    Raises:
        MalformedBody: no CSV, ragged, or no rows.
        TensorMismatch: columns or values that do not fit the manifest.
        TooLarge: more than `max_rows` rows.
    """
    return _Table(manifest, max_rows).read(text, header)


class _Table:
    """One body on its way to a tensor. `lines` holds the body's line of each row, from 1."""

    def __init__(self, manifest: Manifest, max_rows: int) -> None:
        self.slot: Slot = signature_of(manifest).single()
        self.where = f"{self.slot.where}: text/csv body"
        self.max_rows = max_rows
        shape = self.slot.shape
        self.windows = len(shape) == 3
        self.names: tuple[str, ...] = manifest.inputs[0].features or ()
        #: columns; -1 until the first row says how many
        self.width = 1 if len(shape) == 1 else shape[-1]
        if self.width < 0 and self.names:
            self.width = len(self.names)
        if self.width == 1 and not self.names:
            self.names = (self.slot.name,)
        self.columns: Sequence[str] = self.names
        self.order: list[int] | None = None
        self.values: array[Any] = array(_CODES[self.slot.dtype.kind])
        self.lines: array[int] = array("Q")
        #: number of the first row of each window
        self.begins: list[int] = [0]
        self.sequences = manifest.sequences

    def read(self, text: str, header: bool | None) -> dict[str, NDArray[Any]]:
        plain = text.isascii() and "_" not in text
        number: Any = float if self.slot.floating else int
        take = number if plain else strictly(number)
        if self.slot.gaps:
            take = or_gap(take)
        empty = 0
        first = True
        for line, fields in self._rows(text):
            if not fields:
                empty = empty or line
                continue
            if empty:
                self._gap(empty)
                empty = 0
            if first:
                first = False
                if self._is_header(fields, header):
                    self._header(fields)
                    continue
            self._append(line, fields, take)
        if not self.lines:
            raise MalformedBody(
                f"{self.where}: got no rows, wanted at least one. {self.slot.remedy}"
            )
        return self._inputs()

    def _rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of each row; no fields where a line is empty."""
        reader = csv.reader(self._physical(text), strict=True)
        try:
            for fields in reader:
                yield reader.line_num, fields
        except csv.Error as error:
            raise MalformedBody(
                f"{self.where}: line {reader.line_num}: {error}. Send RFC 4180: "
                'fields with commas, quotes or line breaks in "quotes", a quote in them twice.'
            ) from None

    def _physical(self, text: str) -> Iterator[str]:
        """Lines, none of which can unfold to a great many more fields than there are columns."""
        most = 2 * self.width + sum(name.count(",") for name in self.names) + 64
        for number, line in enumerate(io.StringIO(text, newline=""), start=1):
            if self.width > 0 and line.count(",") > most:
                self._refuse_width(number, f"{line.count(',') + 1} fields")
            yield line

    def _refuse_width(self, line: int, got: str) -> NoReturn:
        raise MalformedBody(
            f"{self.where}: line {line}{self._row(len(self.lines))}: got {got}, "
            f"wanted {self.width}. Send one comma-separated field for each column. "
            f"{self.slot.remedy}"
        )

    def _gap(self, line: int) -> None:
        """An empty line with rows behind it."""
        if self.windows and len(self.lines) > self.begins[-1]:
            self._end_window()
            self.begins.append(len(self.lines))
            self._limit(len(self.begins), line)
            return
        where = f"{self.where}: line {line}: got an empty line, wanted "
        if self.windows:
            raise MalformedBody(f"{where}one between two windows only. Leave it away.")
        raise MalformedBody(f"{where}a row of numbers. Leave it away.")

    def _end_window(self) -> None:
        """Hold the last window's rows against the others' or the manifest's."""
        if self.sequences is not None:
            return
        extent = self.slot.shape[1]
        if extent < 0:  # the first window says
            extent = self.begins[1] if len(self.begins) > 1 else len(self.lines)
        got = len(self.lines) - self.begins[-1]
        if got != extent:
            raise TensorMismatch(
                f"{self.where}: window {len(self.begins) - 1}, which begins at "
                f"line {self.lines[self.begins[-1]]}: got {got} rows, wanted {extent}. Send as "
                "many rows for each window, and an empty line between two windows."
            )

    def _limit(self, rows: int, line: int) -> None:
        if rows > self.max_rows:
            raise TooLarge(
                f"{self.where}: line {line}: got more than {self.max_rows} "
                f"{'windows' if self.windows else 'rows'}, which is the most that are accepted. "
                "Send smaller batches, or raise GLASSLINE_MAX_BATCH_ROWS."
            )

    def _is_header(self, fields: list[str], said: bool | None) -> bool:
        if said is not None:
            return said
        known = {field.strip() for field in fields} & set(self.names)
        numbers = [is_number(field) for field in fields]
        if all(numbers) and len(known) == len(fields):
            raise MalformedBody(
                f"{self.where}: line 1 could be names or numbers "
                f"({listed(fields)}). Send Content-Type: text/csv; header=present, or "
                "header=absent."
            )
        return bool(known) if any(numbers) else any(field.strip() for field in fields)

    def _header(self, fields: list[str]) -> None:
        """Learn which column is which."""
        given = [name if name in self.names else name.strip() for name in fields]
        where = f"{self.where}: header row"
        if not self.names:
            raise TensorMismatch(
                f"{where}: got {listed(given)}, but the manifest names no features. Send the rows "
                "alone, columns in the model's order."
            )
        wanted = f"wanted each of {listed(self.names)} once, in any order. {self.slot.remedy}"
        if twice := [name for name in self.names if given.count(name) > 1]:
            raise TensorMismatch(f"{where}: got column {listed(twice)} twice, {wanted}")
        if unknown := [name for name in given if name not in self.names]:
            raise TensorMismatch(f"{where}: got unknown column {listed(unknown)}, {wanted}")
        if missing := [name for name in self.names if name not in given]:
            raise TensorMismatch(f"{where}: column {listed(missing)} is missing, {wanted}")
        self.columns = given
        order = [given.index(name) for name in self.names]
        self.order = None if order == list(range(len(order))) else order

    def _append(self, line: int, fields: list[str], take: Any) -> None:
        row = len(self.lines)
        if self.width < 0:
            self.width = len(fields)
        if len(fields) != self.width:
            self._refuse_width(line, f"{len(fields)} fields")
        if not self.windows:
            self._limit(row + 1, line)
        self.lines.append(line)
        try:
            self.values.extend(map(take, fields))
        except (ValueError, OverflowError):
            for column, field in enumerate(fields):
                self._check(row, column, field, take)
            raise

    def _check(self, row: int, column: int, field: str, take: Any) -> None:
        try:
            array(self.values.typecode, [take(field)])
        except (ValueError, OverflowError):
            self._refuse_cell(row, column, shown(field))

    def _refuse_cell(self, row: int, column: int, got: str) -> NoReturn:
        name = f"'{self.columns[column]}'" if self.columns else str(column + 1)
        if self.slot.range is not None:
            low, high = self.slot.range
        else:
            kind = np.finfo if self.slot.floating else np.iinfo
            low, high = kind(self.slot.dtype).min, kind(self.slot.dtype).max
        what = "a number" if self.slot.floating else "a whole number"
        bounds = f"{low:g} to {high:g}" if self.slot.floating else f"{int(low)} to {int(high)}"
        raise TensorMismatch(
            f"{self.where}: line {self.lines[row]}{self._row(row)}, column "
            f"{name}: got {got}, wanted {what} from {bounds} ({self.slot.datatype}). Clean, "
            "fill or rescale the values before sending them."
        )

    def _row(self, row: int) -> str:
        return "" if self.windows else f" (row {row})"

    def _inputs(self) -> dict[str, NDArray[Any]]:
        if self.windows:
            self._end_window()
        wide: NDArray[Any] = np.frombuffer(self.values, self.values.typecode)
        with np.errstate(over="ignore"):  # what overflows is refused below, by its place
            narrow = wide.astype(self.slot.dtype)
        low, high = self.slot.range or (-np.inf, np.inf)
        good = np.isfinite(narrow) & (narrow >= low) & (narrow <= high)
        if self.slot.gaps:
            good |= np.isnan(narrow)
        if not self.slot.floating:
            good &= narrow == wide
        if not good.all():
            row, column = divmod(int(np.argmin(good)), self.width)
            self._refuse_cell(row, column, repr(wide[row * self.width + column].item()))
        table = narrow.reshape(len(self.lines), self.width)
        if self.order is not None:
            table = np.ascontiguousarray(table[:, self.order])
        if self.sequences is not None:
            return self._several(table, self.sequences)
        shapes = {1: (-1,), 2: (-1, self.width), 3: (len(self.begins), -1, self.width)}
        shaped = table.reshape(shapes[len(self.slot.shape)])
        self.slot.concrete(list(shaped.shape), self.max_rows)
        return {self.slot.name: shaped}

    def _several(self, table: NDArray[Any], media: SequenceMedia) -> dict[str, NDArray[Any]]:
        """Windows of their own lengths, padded with 0."""
        lengths = np.diff([*self.begins, len(table)]).astype(np.int64)
        longest = int(lengths.max())
        if longest > media.longest:  # before so much is padded
            at = int(lengths.argmax())
            raise TensorMismatch(
                f"{self.where}: window {at}, which begins at line {self.lines[self.begins[at]]}: "
                f"got {longest} rows, wanted at most {media.longest}. Send the last ones."
            )
        windows = np.zeros((len(lengths), longest, self.width), table.dtype)
        windows[np.arange(longest) < lengths[:, np.newaxis]] = table
        return {self.slot.name: windows, media.length: lengths}
