"""The log as anybody reads it: what stands in it, and the proof of that."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import lru_cache
from typing import Any, Final

import orjson
from sqlalchemy import Dialect, Select, select

from service.audit import envelope
from service.audit.bundle import Erased, Evidence, Present, Withheld
from service.audit.checkpoint import Checkpoint, SignedNote
from service.audit.envelope import Envelope
from service.audit.keyset import KeySet
from service.audit.merkle import MerkleTree
from service.audit.rows import Statement
from service.audit.schema import checkpoints, log, payloads, records
from service.audit.store import RecordStore, committed
from service.audit.tiles import TileNodes
from service.errors import Conflict, CorruptLog, EvidenceError, Unavailable

#: Records that are read at a time.
CHUNK: Final = 1000
#: Checkpoints, newest first, among which a cosigned one is looked for.
LOOKED_AT: Final = 100
#: What of a record its envelope follows from.
_SIGNED: Final = (
    records.c.sequence, records.c.id, records.c.kind, records.c.body, records.c.signature,
    records.c.key_number,
)  # fmt: skip


class AuditLog:
    """Reads the log of a store; any process may, beside the one that writes.

    Nothing that was once in the log changes, so each answer is true at its own size, and those
    of two calls belong together when both name a size.

    Args:
        store: where the log is.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def checkpoint(self) -> SignedNote:
        """The newest one: every record that was ever acknowledged is under it.

        Raises:
            Unavailable: the database does not answer, or nobody has begun the log.
        """
        return SignedNote.parse(self._one(select(log.c.note)).note.encode())

    def keys(self) -> KeySet:
        """The log's keys and witnesses.

        Raises:
            Unavailable: as `checkpoint`.
        """
        return KeySet.from_json(self._one(select(log.c.key_set)).key_set.encode())

    def size(self) -> int:
        """Records in it.

        Raises:
            Unavailable: as `checkpoint`.
        """
        return int(self._one(select(log.c.size)).size)

    def vouched(self) -> list[SignedNote]:
        """Checkpoints that somebody else has cosigned or time-stamped, smallest first."""
        query = select(checkpoints.c.note).order_by(checkpoints.c.size)
        return [SignedNote.parse(row.note.encode()) for row in self._store.rows(query)]

    def cosigned(self) -> SignedNote | None:
        """The newest checkpoint that one of its witnesses has cosigned; None where none has."""
        return self._cosigned_over(-1, self.keys())

    def stamped(self) -> tuple[SignedNote, bytes] | None:
        """The newest checkpoint with an RFC 3161 time-stamp, and that; None where none has."""
        query = (
            select(checkpoints.c.note, checkpoints.c.timestamp_token)
            .where(checkpoints.c.timestamp_token.is_not(None))
            .order_by(checkpoints.c.size.desc())
            .limit(1)
        )
        for row in self._store.rows(query):
            return SignedNote.parse(row.note.encode()), bytes(row.timestamp_token)
        return None

    def index(self, record_id: str) -> int:
        """The record's place in the log, from 0.

        Raises:
            UnknownRecord: there is none of this id.
        """
        return self._store.get(record_id).sequence - 1

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """What leads from a record to the root over the first `size`; see `MerkleTree`.

        Raises:
            InvalidParameter: no such record in a log of this size, or it never had it.
            CorruptLog: a node of the tree is missing.
        """
        with self._tree() as tree:
            return tree.inclusion_path(index, size)

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """What shows that the log of size `new` continues that of size `old`.

        Raises:
            InvalidParameter: the log never had one of the sizes, or `old` exceeds `new`.
            CorruptLog: a node of the tree is missing.
        """
        with self._tree() as tree:
            return tree.consistency_path(old, new)

    def root(self, size: int | None = None) -> bytes:
        """What the first `size` records hash to.

        Raises:
            InvalidParameter: the log never had this size.
            CorruptLog: a node of the tree is missing.
        """
        with self._tree() as tree:
            return tree.root(size)

    def leaves(
        self, size: int | None = None, first: int = 0
    ) -> Iterator[tuple[bytes, Envelope | None]]:
        """The first `size` records in order: canonical bytes, and who signed them.

        Args:
            size: how many; all where it is None.
            first: index to begin at.

        Raises:
            CorruptLog: a record is missing.
        """
        size = self.size() if size is None else size
        keys = self.keys()  # after the size: whatever signed up to there is among them
        for start in range(first, size, CHUNK):
            until = min(start + CHUNK, size)
            query = (
                select(*_SIGNED)
                .where(records.c.sequence > start, records.c.sequence <= until)
                .order_by(records.c.sequence)
            )
            rows = self._store.rows(query)
            if [row.sequence for row in rows] != list(range(start + 1, until + 1)):
                raise CorruptLog(f"log: of records {start} to {until - 1} some are missing.")
            for row in rows:
                yield bytes(row.body), _envelope(row, keys)

    def evidence(self, record_id: str, withheld: Collection[str] = ()) -> Evidence:
        """All that proves a record.

        The checkpoint is the newest that a witness has cosigned, if the record is under one.

        Args:
            record_id: which.
            withheld: names of payloads that the reader does not get.

        Raises:
            UnknownRecord: there is none of this id.
            Conflict: the key that signed it was revoked from an earlier size on.
            CorruptLog: the log does not hold what it must.
        """
        index = self.index(record_id)
        row = self._one(select(*_SIGNED).where(records.c.sequence == index + 1))
        keys = self.keys()
        note = self._cosigned_over(index, keys) or self.checkpoint()
        signed = _envelope(row, keys)
        if signed is None:
            raise CorruptLog(f"log: record {record_id} has no signature.")
        try:
            keys.for_record(signed.signatures[0][0], index)
        except EvidenceError as error:
            raise Conflict(f"record {record_id}: there is no evidence of it: {error}") from None
        size = Checkpoint.parse(note.text).size
        return Evidence(
            body=bytes(row.body),
            envelope=signed,
            index=index,
            path=self.inclusion(index, size),
            checkpoint=note,
            keys=keys,
            payloads=self._payloads(record_id, orjson.loads(row.body), withheld),
        )

    def _cosigned_over(self, index: int, keys: KeySet) -> SignedNote | None:
        """The newest over a record that a witness has cosigned, and whose key counts."""
        query = (
            select(checkpoints.c.note)
            .where(checkpoints.c.size > index)
            .order_by(checkpoints.c.size.desc())
            .limit(LOOKED_AT)
        )
        for row in self._store.rows(query):
            note = SignedNote.parse(row.note.encode())
            counting = keys.for_checkpoint(Checkpoint.parse(note.text).size)
            witnessed = any(note.cosigned_by(witness) is not None for witness in keys.witnesses)
            if witnessed and any(map(note.signed_by, counting)):
                return note
        return None

    def _payloads(
        self, record_id: str, record: dict[str, Any], withheld: Collection[str]
    ) -> list[Present | Erased | Withheld]:
        query = select(payloads).where(payloads.c.record_id == record_id)
        rows = {row.name: row for row in self._store.rows(query)}
        found: list[Present | Erased | Withheld] = []
        for said in record["payloads"]:
            name = said["name"]
            if name not in rows:
                raise CorruptLog(f"record {record_id}: payload '{name}' is not in the store.")
            row = rows[name]
            if row.erased_at is not None:
                found.append(Erased(name, row.erased_at.replace(tzinfo=UTC)))
            elif name in withheld:
                found.append(Withheld(name))
            else:
                where = f"record {record_id}: payload '{name}'"
                content = committed(where, row.salt, said["commitment"], row.content)
                found.append(Present(name, content, row.salt))
        return found

    @contextmanager
    def _tree(self) -> Iterator[MerkleTree]:
        """The tree, read over one connection: a proof needs a dozen tiles."""
        size, read = _statements(self._store.engine.dialect)
        with self._store.reading() as connection:

            def tile(level: int, position: int) -> bytes | None:
                found = read.run(connection, level=level, position=position).scalar()
                return None if found is None else bytes(found)

            there = size.run(connection).scalar()
            if there is None:
                raise _not_begun()
            yield MerkleTree(TileNodes(tile), there)

    def _one(self, query: Select[Any]) -> Any:
        rows = self._store.rows(query)
        if not rows:
            raise _not_begun()
        return rows[0]


@lru_cache(maxsize=8)
def _statements(dialect: Dialect) -> tuple[Statement, Statement]:
    """What the log's size and a tile are read with."""
    tile = "SELECT nodes FROM tiles WHERE level = :level AND position = :position"
    return Statement("SELECT size FROM log WHERE id = 1", dialect), Statement(tile, dialect)


def _not_begun() -> Unavailable:
    return Unavailable(
        "log: nobody has begun it yet; whoever starts a server on this record store does."
    )


def _envelope(row: Any, keys: KeySet) -> Envelope | None:
    """The envelope that follows from a record and its signature; None where it has none."""
    if row.signature is None:
        return None
    keyid = keys.keys[row.key_number].keyid
    return envelope.restored(row.id, row.kind, bytes(row.body), keyid, bytes(row.signature))
