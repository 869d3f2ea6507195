"""The record store: a database that is read here and written by `log_writer.py` alone."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Select, create_engine, event, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from service.audit.migration import migrate
from service.audit.schema import payloads, records
from service.audit.turnstile import Turnstile
from service.errors import Conflict, StoreError, Unavailable, UnknownRecord

#: Milliseconds that SQLite waits for another process's commit; the writer tries more than once.
BUSY_MS = 3_000
#: What a connection to PostgreSQL is opened with. Whatever the server's own setting, a commit
#: returns once it is on disk; and a writer does not wait for ever for another.
_POSTGRESQL: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "application_name": "glassline",
    "options": f"-c synchronous_commit=on -c lock_timeout={BUSY_MS}",
}
#: Ids as `record.new_id` makes them. Anything else names no record, and databases differ in
#: what they say of a NUL or a lone surrogate, so it is not sent to them.
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it stands in the store."""

    sequence: int
    id: str
    kind: str
    body: bytes
    sha256: str


class RecordStore:
    """Records and their payloads.

    Args:
        url: SQLAlchemy URL, for example `sqlite:////path/records.db`.

    Raises:
        StoreError: the database was written by a newer Glassline, or the URL is wrong.
        Unavailable: the database cannot be reached.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = _engine(url)
            self._turnstile = _turnstile(self._engine)
            try:
                migrate(self._engine)
            except BaseException:
                self.close()
                raise
        except (ArgumentError, ImportError) as error:
            # Neither the URL nor the reason may show a password: only the driver's name is told.
            raise StoreError(
                f"record store: GLASSLINE_DATABASE_URL starts with '{url.partition(':')[0][:40]}', "
                f"which cannot be used ({type(error).__name__}). Use sqlite:////path/records.db, "
                "or install the driver of this database."
            ) from None
        except DBAPIError as error:
            raise Unavailable(f"record store: cannot be opened ({error.orig}).") from None
        except OSError as error:
            raise Unavailable(f"record store: cannot be opened ({error}).") from None

    def get(self, record_id: str) -> StoredRecord:
        """The record of this id.

        Raises:
            UnknownRecord: there is none, or this is no record id at all.
            Unavailable: the database does not answer.
        """
        _check_id(record_id)
        query = select(
            records.c.sequence, records.c.id, records.c.kind, records.c.body, records.c.sha256
        ).where(records.c.id == record_id)
        row = self._first(query)
        if row is None:
            raise UnknownRecord(f"no record has the id '{record_id}'.")
        return StoredRecord(*row)

    def payload(self, record_id: str, name: str) -> bytes:
        """An input or artifact of a record, checked against its commitment.

        Raises:
            UnknownRecord: the record has no such payload.
            Conflict: it was erased, or is not what the record committed to.
            Unavailable: the database does not answer.
        """
        _check_id(record_id)
        query = select(payloads.c.salt, payloads.c.commitment, payloads.c.content).where(
            payloads.c.record_id == record_id, payloads.c.name == name
        )
        row = self._first(query)
        if row is None:
            raise UnknownRecord(f"record '{record_id}' has no payload '{name}'.")
        salt, commitment, content = row
        if content is None:
            raise Conflict(f"record {record_id}: payload '{name}' was erased.")
        return committed(f"record {record_id}: payload '{name}'", salt, commitment, content)

    @property
    def engine(self) -> Engine:
        """Its database, for the one who writes."""
        return self._engine

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of the only one who writes meanwhile; durable when the block ends."""
        with self._engine.begin() as connection:
            if self._turnstile:
                with self._turnstile.turn():
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for several short reads.

        Raises:
            Unavailable: the database does not answer.
        """
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise Unavailable(f"record store: does not answer ({error.orig}).") from None

    def rows(self, query: Select[Any]) -> list[Any]:
        """All rows of a query.

        Raises:
            Unavailable: the database does not answer.
        """
        with self.reading() as connection:
            return list(connection.execute(query))

    def _first(self, query: Select[Any]) -> Any:
        return next(iter(self.rows(query.limit(1))), None)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._turnstile:
            self._turnstile.close()
            self._turnstile = None


def _check_id(record_id: str) -> None:
    if not _ID.fullmatch(record_id):
        shown = record_id[:80].encode("ascii", "backslashreplace").decode()
        raise UnknownRecord(
            f"no record has the id '{shown}': ids look like 01890a5d-ac96-774b-bcce-b302099a8057."
        )


def committed(where: str, salt: bytes, commitment: str, content: bytes) -> bytes:
    """The payload as it was before compression, if it is what the record committed to."""
    try:
        plain = zlib.decompress(content)
    except zlib.error:
        raise Conflict(f"{where} is damaged in the database and cannot be read.") from None
    if hashlib.sha256(salt + plain).hexdigest() != commitment:
        raise Conflict(f"{where} is not what the record committed to.")
    return plain


def _engine(url: str) -> Engine:
    if url.startswith("postgresql"):
        engine = create_engine(url, pool_pre_ping=True, connect_args=_POSTGRESQL)
    else:
        engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _configure_sqlite)
    return engine


def _turnstile(engine: Engine) -> Turnstile | None:
    """Where SQLite's writers of several processes queue; other databases queue them themselves."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    return Turnstile(Path(f"{engine.url.database}-turn"), BUSY_MS / 1000)


def _configure_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL makes the write-ahead log reach the disk before a commit returns.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # What was erased is overwritten, and not only forgotten.
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()
