"""The only way into the log: records become leaves, are signed, and a checkpoint says so."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, insert, select, text, update

from service.audit import checkpoint, envelope
from service.audit.checkpoint import Checkpoint
from service.audit.keyholder import Keyholder
from service.audit.keys import SigningKey
from service.audit.keyset import KeySet
from service.audit.merkle import EMPTY_ROOT, MerkleTree
from service.audit.record import Record
from service.audit.rows import Insert, Statement
from service.audit.schema import log, payloads, records
from service.audit.store import RecordStore
from service.audit.tiles import TileNodes
from service.settings import Settings

#: Records of an older store that are put into the tree in one transaction.
CHUNK: Final = 2000
_HELD: Final = "SELECT size, key_set FROM log WHERE id = 1"
_TILE: Final = "SELECT nodes FROM tiles WHERE level = :level AND position = :position"
_KEEP_TILE: Final = (
    "INSERT INTO tiles (level, position, nodes) VALUES (:level, :position, :nodes) "
    "ON CONFLICT (level, position) DO UPDATE SET nodes = excluded.nodes"
)
_MOVED: Final = "UPDATE log SET size = :size, note = :note WHERE id = 1"
_SIGNED: Final = text(
    "UPDATE records SET signature = :signature, key_number = :number WHERE sequence = :sequence"
)


@dataclass(frozen=True, slots=True)
class _Signer:
    """The log's key set as it stands in the database, and the key that signs by it."""

    said: str
    keys: KeySet
    key: SigningKey
    number: int


class LogWriter:
    """Appends records to the log of a store, in one transaction with their leaves.

    Several processes may each have one: whoever appends holds the log's row, and looks first
    how far the others have come.

    Args:
        store: where the log is.
        keyholder: of its private key.
        origin: name of the log where it is new; empty to make one up.

    Raises:
        KeyRefused: the log is new, and its key cannot be used.
    """

    def __init__(self, store: RecordStore, keyholder: Keyholder, origin: str = "") -> None:
        self.store = store
        self._keyholder = keyholder
        self._signer: _Signer | None = None
        self._tree: MerkleTree | None = None
        self._nodes: TileNodes | None = None
        self._connection: Connection | None = None
        dialect = store.engine.dialect
        self._records, self._payloads = Insert(records, dialect), Insert(payloads, dialect)
        # SQLite's writer has the whole file; elsewhere it holds the log's row.
        held = _HELD if dialect.name == "sqlite" else f"{_HELD} FOR UPDATE"
        self._held, self._read = Statement(held, dialect), Statement(_TILE, dialect)
        self._keep, self._moved = Statement(_KEEP_TILE, dialect), Statement(_MOVED, dialect)
        self._begin(origin or f"glassline.invalid/{secrets.token_hex(8)}")
        self._started = False

    @classmethod
    def of(cls, settings: Settings) -> LogWriter:
        """The writer of the settings' log.

        Raises:
            KeyRefused: the log's key is not here, or cannot be used.
            Unavailable: the database cannot be opened.
            StoreError: it was written by a newer Glassline.
        """
        store = RecordStore(settings.database)
        return cls(store, Keyholder.of(settings), settings.log_origin)

    def start(self) -> None:
        """Put the records of an older store into the tree, if there are any.

        Raises:
            KeyRefused: the log's key is not here, or cannot be used.
        """
        while not self._started:
            self._started = not self._adopt()

    def append(self, group: Sequence[Record]) -> None:
        """Write records in this order; they are durable and provable when this returns.

        With an erasure go the payloads that it names.

        Raises:
            KeyRefused: the log's key was rotated, and the new one is not here.
            CorruptLog: a node of the tree is missing.
        """
        self.start()
        with self._turn() as (connection, tree, signer):
            first = tree.extend(record.body for record in group).start + 1
            rows = []
            for sequence, record in enumerate(group, first):
                row = record.row()
                row["sequence"] = sequence
                row["signature"] = envelope.sign(record.id, record.kind, record.body, signer.key)
                row["key_number"] = signer.number
                rows.append(self._records.parameters(row))
            connection.exec_driver_sql(self._records.statement, rows)
            if inputs := [
                self._payloads.parameters(row) for record in group for row in record.payload_rows()
            ]:
                connection.exec_driver_sql(self._payloads.statement, inputs)
            for record in group:
                if record.kind == "erasure":
                    _erase(connection, record)

    def change_keys(self, change: Callable[[KeySet, int], KeySet]) -> KeySet:
        """Change the key set, between two records; the log's end is signed by the active key.

        Args:
            change: makes a key set of the present one and the log's size.

        Raises:
            KeyRefused: there would be no active key here.
        """
        with self._holding() as (connection, size, said):
            keys = change(KeySet.from_json(said.encode()), size)
            content = keys.to_json().decode()
            connection.execute(update(log).values(key_set=content))
            self._move(connection, self._tree_of(size), self._signed_by(content))
        return keys

    @contextmanager
    def _turn(self) -> Iterator[tuple[Connection, MerkleTree, _Signer]]:
        """A transaction in which the tree may grow; its end writes tiles and checkpoint."""
        with self._holding() as (connection, size, said):
            signer, tree = self._signed_by(said), self._tree_of(size)
            yield connection, tree, signer
            self._move(connection, tree, signer)

    @contextmanager
    def _holding(self) -> Iterator[tuple[Connection, int, str]]:
        """A transaction that holds the log's row: its size, and its key set."""
        try:
            with self.store.writing() as connection:
                self._connection = connection
                held: Any = self._held.run(connection).one()
                yield connection, held.size, held.key_set
        except BaseException:
            self._tree = None  # what it has grown by was perhaps not written
            raise
        finally:
            self._connection = None

    def _move(self, connection: Connection, tree: MerkleTree, signer: _Signer) -> None:
        if self._nodes and (changed := self._nodes.take_changed()):
            for (level, position), nodes in changed.items():
                self._keep.run(connection, level=level, position=position, nodes=nodes)
        said = Checkpoint(signer.keys.origin, tree.size, tree.root())
        note = str(checkpoint.sign(said, signer.key))
        self._moved.run(connection, size=tree.size, note=note)

    def _tree_of(self, size: int) -> MerkleTree:
        """The tree at this size, from memory if nobody else has appended."""
        if self._tree is None or self._tree.size != size:
            self._nodes = TileNodes(self._read_tile)
            self._tree = MerkleTree(self._nodes, size)
        return self._tree

    def _read_tile(self, level: int, position: int) -> bytes | None:
        assert self._connection is not None
        found = self._read.run(self._connection, level=level, position=position).scalar()
        return None if found is None else bytes(found)

    def _signed_by(self, said: str) -> _Signer:
        """The signer by the key set in the database, which a rotation may have changed."""
        if self._signer is None or self._signer.said != said:
            keys = KeySet.from_json(said.encode())
            active = keys.active()
            number = [key.keyid for key in keys.keys].index(active.keyid)
            self._signer = _Signer(said, keys, self._keyholder.private(active), number)
        return self._signer

    def _begin(self, origin: str) -> None:
        """Begin a log where there is none."""
        with self.store.writing() as connection:
            if self.store.engine.dialect.name == "postgresql":
                connection.execute(text("LOCK TABLE log IN EXCLUSIVE MODE"))
            if connection.execute(select(log.c.id)).first():
                return
            key = self._keyholder.fresh(origin)
            keys = KeySet.of(key.public, datetime.now(UTC))
            note = checkpoint.sign(Checkpoint(origin, 0, EMPTY_ROOT), key)
            connection.execute(
                insert(log).values(id=1, size=0, note=str(note), key_set=keys.to_json().decode())
            )

    def _adopt(self) -> bool:
        """Put records of an older store into the tree; whether there may be more."""
        with self._turn() as (connection, tree, signer):
            found = connection.execute(
                select(records.c.sequence, records.c.id, records.c.kind, records.c.body)
                .where(records.c.sequence > tree.size)
                .order_by(records.c.sequence)
                .limit(CHUNK)
            ).all()
            tree.extend(row.body for row in found)
            if found:
                connection.execute(_SIGNED, [self._adopted(row, signer) for row in found])
        return len(found) == CHUNK

    @staticmethod
    def _adopted(row: Any, signer: _Signer) -> dict[str, Any]:
        signature = envelope.sign(row.id, row.kind, row.body, signer.key)
        return {"signature": signature, "number": signer.number, "sequence": row.sequence}


def _erase(connection: Connection, erasure: Record) -> None:
    """Drop the payloads that an erasure names, and the salts: nobody can guess them any more."""
    erased = orjson.loads(erasure.body)["erases"]
    connection.execute(
        update(payloads)
        .where(payloads.c.record_id.in_(erased), payloads.c.erased_at.is_(None))
        .values(content=None, salt=None, erased_at=erasure.created_at)
    )
