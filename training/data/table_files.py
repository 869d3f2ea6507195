"""A file's cells, as they stand in it: CSV (RFC 4180), and Parquet where pyarrow is."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.errors import GlasslineError

#: What people write where there is nothing, in lower case.
GAPS = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
#: Separators that a header row is looked at for; the one that comes most is taken.
SEPARATORS = (",", ";", "\t")


class BadFile(GlasslineError):
    """A file that is no table."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Texts of a table by column, stripped; `lines` says where each row stands in the file."""

    columns: dict[str, list[str]]
    lines: list[int]
    sha256: str

    def some(self, rows: Sequence[int]) -> Cells:
        """These rows alone."""
        columns = {name: [cells[at] for at in rows] for name, cells in self.columns.items()}
        return Cells(columns, [self.lines[at] for at in rows], self.sha256)


def taken_for_missing(cell: str) -> bool:
    """Whether a cell says that nothing is known."""
    return cell.lower() in GAPS


def read_table(path: Path) -> Cells:
    """Read a file whole.

    Args:
        path: `*.parquet`, or else CSV with a header row, separated by comma, semicolon or tab.

    Raises:
        BadFile: it cannot be read, or is no table; the message says the line.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise BadFile(f"table '{path.name}': cannot be read ({error.strerror}).") from None
    digest = hashlib.sha256(body).hexdigest()
    if path.suffix == ".parquet":
        return _parquet(path, body, digest)
    return _csv(path, body, digest)


def _csv(path: Path, body: bytes, digest: str) -> Cells:
    where = f"table '{path.name}'"
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"{where}: byte {error.start} is no UTF-8. Save the file as UTF-8 CSV."
        ) from None
    if "\0" in text:
        raise BadFile(f"{where}: it holds NUL characters: no CSV. Save the file as UTF-8 CSV.")
    first = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines = [], []
    try:
        for fields in reader:
            if fields:
                rows.append([field.strip() for field in fields])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise BadFile(f"{where}: line {reader.line_num}: {error}. Wanted RFC 4180.") from None
    if len(rows) < 2:
        raise BadFile(f"{where}: got {len(rows)} lines, wanted a header row and rows below it.")
    header = rows.pop(0)
    lines.pop(0)
    _check_header(where, header)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise BadFile(
                f"{where}: line {line}: got {len(row)} fields, wanted {len(header)}, as many as "
                "the header row names."
            )
    columns = {name: [row[at] for row in rows] for at, name in enumerate(header)}
    return Cells(columns, lines, digest)


def _parquet(path: Path, body: bytes, digest: str) -> Cells:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise BadFile(
            f"table '{path.name}': reading Parquet needs a package that is not installed. "
            "Install it with: pip install pyarrow, or save the table as CSV."
        ) from None
    where = f"table '{path.name}'"
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(body))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadFile(f"{where}: no Parquet ({str(error).splitlines()[0]}).") from None
    _check_header(where, table.column_names)
    if not table.num_rows:
        raise BadFile(f"{where}: got no rows.")
    columns = {
        name: ["" if cell is None else str(cell).strip() for cell in table[name].to_pylist()]
        for name in table.column_names
    }
    return Cells(columns, list(range(1, table.num_rows + 1)), digest)


def _check_header(where: str, header: Sequence[str]) -> None:
    if "" in header:
        raise BadFile(
            f"{where}: column {list(header).index('') + 1} has no name in the header row. "
            "Name every column."
        )
    twice = sorted({name for name in header if list(header).count(name) > 1})
    if twice:
        raise BadFile(f"{where}: columns named twice: {', '.join(twice)}. Rename one of each.")
