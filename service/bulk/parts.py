"""What is done already: part files beside the output, joined to it at the end.

A part is written whole or not at all, so whatever ends a run, the next one finds only rows
that are finished, and computes the others alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from service.bulk.layout import ROW
from service.bulk.question import differences
from service.errors import Conflict, StoreError

#: Key of the question in the finished file's metadata.
QUESTION = b"glassline.bulk"
ERROR = "error"
#: Rows that are put in order at once.
_JOINED_ROWS = 2048
#: Parts that are held open meanwhile: rows come nearly in order.
_OPEN_PARTS = 64


class Parts:
    """The rows of one output file that are done; a context that nobody else enters meanwhile.

    Args:
        out: the output file.
        question: what is asked, see `Question.to_json`.
        rows: of the whole.

    Attributes:
        done: (rows,) bool.
        failed: how many of those that are done have an error.
        finished: whether the output file itself stands.

    Raises:
        Conflict: the output or the parts belong to another question, or another run is at them.
        StoreError: they cannot be read or written.
    """

    def __init__(self, out: Path, question: Mapping[str, Any], rows: int) -> None:
        self._out = out
        self._question = question
        self.folder = out.with_name(f"{out.name}.parts")
        self.done: NDArray[np.bool_] = np.zeros(rows, bool)
        self.failed = 0
        self.finished = False
        self._next = 0
        self._lock = -1

    def __enter__(self) -> Parts:
        try:
            self._begin()
        except OSError as error:
            self._unlock()
            raise StoreError(f"{self.folder}: {error.strerror}. Name another --out.") from None
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock >= 0 and not self._files():
            shutil.rmtree(self.folder, ignore_errors=True)  # nothing that could be gone on with
        self._unlock()

    def _begin(self) -> None:
        if self._out.exists():
            self._refuse_others(_question_in(self._out), f"{self._out} exists already", self._out)
            self._learn(self._out)
            self.finished = True
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"{self.folder}: another run is writing it. Wait for it, or name another --out."
            ) from None
        begun = self.folder / "question.json"
        if begun.exists():
            self._refuse_others(
                orjson.loads(begun.read_bytes()), f"{self.folder} is half done", self.folder
            )
        else:
            _write(begun, lambda path: path.write_bytes(orjson.dumps(self._question)))
        for left in self.folder.glob("*.tmp"):
            left.unlink()
        for part in self._files():
            self._learn(part)
            self._next = int(part.stem) + 1

    def _refuse_others(self, begun: Mapping[str, Any] | None, what: str, path: Path) -> None:
        remedy = f"Ask the same again, name another --out, or remove {path}."
        if begun is None:
            raise Conflict(f"{what} and holds something else. Name another --out.")
        if differing := differences(begun, self._question):
            raise Conflict(f"{what} with another question: {differing}. {remedy}")

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def _learn(self, part: Path) -> None:
        try:
            table = pq.read_table(part, columns=[ROW, ERROR])
        except (pa.ArrowInvalid, OSError):
            raise StoreError(
                f"{part}: damaged. Remove it: its rows alone are computed again."
            ) from None
        self.done[table[ROW].to_numpy()] = True
        self.failed += len(table) - table[ERROR].null_count

    def add(self, table: pa.Table) -> None:
        """Keep these finished rows; they are on the disk when this returns.

        Raises:
            StoreError: they cannot be written.
        """
        part = self.folder / f"{self._next:08d}.parquet"
        try:
            _write(part, lambda path: pq.write_table(table, path, compression="zstd"))
        except OSError as error:
            raise StoreError(
                f"{part}: cannot be written ({error.strerror}). What was done before is kept."
            ) from None
        self._next += 1
        self.done[table[ROW].to_numpy()] = True
        self.failed += len(table) - table[ERROR].null_count

    def join(self) -> None:
        """All rows in order as the output file, and no parts any more.

        Raises:
            StoreError: it cannot be written; the parts are kept.
        """
        try:
            _write(self._out, self._joined)
        except OSError as error:
            raise StoreError(
                f"{self._out}: cannot be written ({error.strerror}). All rows are kept in "
                f"{self.folder}; the same command joins them."
            ) from None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _joined(self, path: Path) -> None:
        files = self._files()
        rows = [pq.read_table(part, columns=[ROW])[ROW].to_numpy() for part in files]
        # Of each row the part that has it, and where in that part.
        part_of = np.repeat(np.arange(len(files)), [len(some) for some in rows])
        place = np.concatenate([np.arange(len(some)) for some in rows])
        order = np.argsort(np.concatenate(rows), kind="stable")
        schema = pq.read_schema(files[0])
        metadata = {QUESTION: orjson.dumps(self._question)}
        opened = lru_cache(maxsize=_OPEN_PARTS)(pq.read_table)
        with pq.ParquetWriter(path, schema.with_metadata(metadata), compression="zstd") as writer:
            for first in range(0, len(order), _JOINED_ROWS):
                some = order[first : first + _JOINED_ROWS]
                taken = [
                    opened(files[part]).take(place[some[part_of[some] == part]])
                    for part in np.unique(part_of[some])
                ]
                writer.write_table(pa.concat_tables(taken).sort_by(ROW).cast(writer.schema))

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _question_in(path: Path) -> Mapping[str, Any] | None:
    """The question of a finished file; None where it is no file of ours."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        question: Mapping[str, Any] = orjson.loads(metadata[QUESTION])
    except (pa.ArrowInvalid, OSError, KeyError, orjson.JSONDecodeError):
        return None
    return question


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    """A file that is there whole, on the disk, or not at all."""
    half = path.with_name(f"{path.name}.tmp")
    try:
        fill(half)
        with half.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
