"""Files of inputs: a parquet, a table as .csv, or a folder of pictures, read piece by piece."""

from __future__ import annotations

import csv
import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from service.bulk.layout import ID, LINE, PATH, PICTURE, PROBLEM, ROW, Held, Layout, layout_of
from service.errors import MalformedBody, NotFound, TensorMismatch, UnsupportedMediaType
from service.manifest import Manifest
from service.protocol.cells import is_number
from service.protocol.tables import takes_table

#: Of one piece; as many rows as that are, and no more than `_ROWS`.
_BYTES, _ROWS = 32 * 1024 * 1024, 4096
_PICTURES = (".png", ".jpg", ".jpeg")


class Inputs(ABC):
    """Rows of inputs in a file or folder.

    Attributes:
        path: of the file or folder.
        layout: where the inputs stand in a piece.
        rows: how many there are.
        id_type: Arrow type of the column ID.
    """

    path: Path
    layout: Layout
    rows: int
    id_type: pa.DataType = pa.int64()

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Digest of all that the rows are made of, lower-case hex."""

    @abstractmethod
    def pieces(self) -> Iterator[pa.Table]:
        """All rows in order, some at a time: ROW, ID, PROBLEM and the layout's columns."""


def open_inputs(path: Path, manifest: Manifest) -> Inputs:
    """The rows of a file or folder.

    Args:
        path: a .parquet or .csv file, or a folder of .png and .jpg files.
        manifest: of the model that is to explain them.

    Raises:
        NotFound: there is no such file.
        UnsupportedMediaType: a file of another kind, or one that the model does not take.
        MalformedBody: it cannot be read, or has no rows.
        TensorMismatch: its columns are not the model's inputs.
    """
    if path.is_dir():
        found: Inputs = _Folder(path, manifest)
    elif not path.exists():
        raise NotFound(f"{path}: no such file or folder. Name one with --batch.")
    elif path.suffix.lower() == ".parquet":
        found = _Parquet(path, manifest)
    elif path.suffix.lower() == ".csv":
        found = _Csv(path, manifest)
    else:
        raise UnsupportedMediaType(
            f"{path}: wanted a file that ends in .parquet or .csv, or a folder of pictures."
        )
    if not found.rows:
        raise MalformedBody(f"{path}: got no rows, wanted at least one.")
    return found


class _Parquet(Inputs):
    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        try:
            metadata, schema = pq.read_metadata(path), pq.read_schema(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise MalformedBody(f"{path}: not a parquet file ({_first_line(error)}).") from None
        held = {field.name: _held(field.type) for field in schema if field.name != ID}
        self.layout = layout_of(manifest, held, str(path))
        self._by_name = self.layout.columns == (PATH,) and self.layout.kind == "pictures"
        if self._by_name:
            self.layout = Layout("pictures", (PICTURE,))
        self.rows = metadata.num_rows
        self._has_ids = ID in schema.names
        if self._has_ids:
            self.id_type = schema.field(ID).type
        groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
        size = sum(group.total_byte_size for group in groups)
        self._at_once = min(_ROWS, max(1, _BYTES * self.rows // max(1, size)))

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(_digest(self.path))
        if self._by_name:
            for piece in self._read((PATH,)):
                for name in piece[PATH].to_pylist():
                    digest.update(_digest(self._picture(name)))
        return digest.hexdigest()

    def _picture(self, name: str | None) -> Path:
        """Names are relative to the file that they stand in."""
        return self.path.parent / (name or "")

    def _read(self, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(self._at_once, columns=list(columns)):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise MalformedBody(f"{self.path}: damaged ({_first_line(error)}).") from None

    def pieces(self) -> Iterator[pa.Table]:
        columns = (PATH,) if self._by_name else self.layout.columns
        first = 0
        for piece in self._read((*columns, *((ID,) if self._has_ids else ()))):
            rows = pa.array(range(first, first + len(piece)), pa.int64())
            made = {ROW: rows, ID: piece[ID] if self._has_ids else rows}
            if self._by_name:
                made |= _loaded([self._picture(name) for name in piece[PATH].to_pylist()])
            else:
                nothing = pa.nulls(len(piece), pa.string())
                made |= {PROBLEM: nothing} | {name: piece[name] for name in columns}
            first += len(piece)
            yield pa.table(made)


class _Folder(Inputs):
    id_type = pa.string()

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        # Refused by the columns that it would have, so that the message is the same.
        self.layout = layout_of(manifest, {PICTURE: "bytes"}, f"{path} (a folder of pictures)")
        self._files = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES)
        self.rows = len(self._files)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(hashlib.sha256(file.name.encode()).digest() + _digest(file))
        return digest.hexdigest()

    def pieces(self) -> Iterator[pa.Table]:
        for first in range(0, self.rows, 64):
            files = self._files[first : first + 64]
            rows = pa.array(range(first, first + len(files)), pa.int64())
            yield pa.table({ROW: rows, ID: [file.name for file in files], **_loaded(files)})


class _Csv(Inputs):
    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        tensor = manifest.inputs[0]
        if not takes_table(manifest) or len(tensor.shape) > 2:
            raise UnsupportedMediaType(
                f"{path}: {manifest.reference} takes no rows of a table. Send a .parquet file with "
                f"its inputs as columns: {', '.join(one.name for one in manifest.inputs)}."
            )
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                first = next(reader, [])
                header = not all(map(is_number, first))
                lines = [bool(fields) for fields in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise MalformedBody(f"{path}: not a table in UTF-8 ({error}).") from None
        while lines and not lines[-1]:  # empty lines at the end are no rows
            lines.pop()
        self.rows = len(lines) + (bool(first) and not header)
        self._id_at = first.index(ID) if header and ID in first else None
        if tensor.features and ID in tensor.features:
            self._id_at = None
        self._header = [name for at, name in enumerate(first) if at != self._id_at]
        wanted = tensor.features or ((tensor.name,) if tensor.shape[1:] in ((), (1,)) else ())
        if header and sorted(map(str.strip, self._header)) != sorted(wanted):
            raise TensorMismatch(
                f"{path}: got columns {', '.join(self._header)}, wanted {', '.join(wanted)} in any "
                "order, or no names and the manifest's number and order of columns. A column 'id' "
                "may stand beside them where there are names."
            )
        self.layout = Layout("line", (LINE,), header)
        if self._id_at is not None:
            self.id_type = pa.string()

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(_digest(self.path)).hexdigest()

    def pieces(self) -> Iterator[pa.Table]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            if self.layout.header:
                next(reader)
            for first in range(0, self.rows, _ROWS):
                lines = list(islice(reader, min(_ROWS, self.rows - first)))
                rows = pa.array(range(first, first + len(lines)), pa.int64())
                ids = rows if self._id_at is None else [self._id(fields) for fields in lines]
                text = [self._text(fields) for fields in lines]
                nothing = pa.nulls(len(lines), pa.string())
                yield pa.table({ROW: rows, ID: ids, PROBLEM: nothing, LINE: text})

    def _id(self, fields: list[str]) -> str | None:
        assert self._id_at is not None
        return fields[self._id_at] if self._id_at < len(fields) else None

    def _text(self, fields: list[str]) -> str:
        """One line as a body of its own."""
        body = io.StringIO()
        writer = csv.writer(body)
        if self.layout.header:
            writer.writerow(self._header)
        writer.writerow([field for at, field in enumerate(fields) if at != self._id_at])
        return body.getvalue()


def _loaded(files: list[Path]) -> dict[str, Any]:
    """PICTURE and PROBLEM of these files: one that cannot be read is a row that is bad."""
    pictures: list[bytes | None] = []
    problems: list[str | None] = []
    for file in files:
        try:
            pictures.append(file.read_bytes())
            problems.append(None)
        except OSError as error:
            pictures.append(None)
            problems.append(f"picture {file}: cannot be read ({error.strerror}).")
    return {
        PROBLEM: pa.array(problems, pa.string()),
        PICTURE: pa.array(pictures, pa.large_binary()),
    }


def _digest(path: Path) -> bytes:
    """SHA-256 of a file; of nothing, where there is none to read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def _held(kind: pa.DataType) -> Held:
    types = pa.types
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    return "values"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
