"""Tables of the record store; portable SQL, for SQLite and PostgreSQL alike.

They are made by the steps in `service/migrations/versions`, of which this is the sum;
`tests/audit/test_migration.py` holds the two together.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

#: The last step in `service/migrations/versions`; a store with a later one is refused.
REVISION: Final = "0003"

metadata = MetaData()

#: For programs from before there were migrations, so that they refuse this store.
schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

#: One row an event; `body` is the record itself, canonical JSON, and all else is an index on it.
records = Table(
    "records",
    metadata,
    #: its place in the log, counted from 1 and without gaps: the leaf's index and one
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("model", String(63)),
    Column("version", String(9)),
    Column("decision", String(256)),
    Column("score", Float),
    Column("caller", String(256)),
    Column("request_id", String(128)),
    Column("parent_id", String(36)),
    Column("body", LargeBinary, nullable=False),
    Column("sha256", String(64), nullable=False),
    #: of the record's in-toto statement in its DSSE envelope, which follows from the body
    Column("signature", LargeBinary),
    #: which key of the log's key set made it, counted from 0
    Column("key_number", SmallInteger),
    #: the kind again, but nothing for predictions
    Column("rare_kind", String(32)),
    Index("records_by_model", "model", "version", "sequence"),
)
# Every index is a page more in each commit, and commits are what a caller waits for: ids are
# made to sort by time, so time needs none of its own, and most records have no parent.
Index(
    "records_by_parent",
    records.c.parent_id,
    sqlite_where=records.c.parent_id.is_not(None),
    postgresql_where=records.c.parent_id.is_not(None),
)

# Hardly any record is no prediction: finding those must not go through all that are, and
# predictions must not pay for it. A partial index is only used where its condition follows from
# the query's, and `IS NOT NULL` follows from every comparison in both databases.
Index(
    "records_by_rare_kind",
    records.c.rare_kind,
    records.c.sequence,
    sqlite_where=records.c.rare_kind.is_not(None),
    postgresql_where=records.c.rare_kind.is_not(None),
)

#: Inputs and artifacts, apart from the records so that they can be erased without touching one.
#: A record commits to its payloads by SHA-256(salt || content).
payloads = Table(
    "payloads",
    metadata,
    Column("record_id", String(36), ForeignKey("records.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("media_type", String(64), nullable=False),
    Column("salt", LargeBinary),
    Column("commitment", String(64), nullable=False),
    Column("content", LargeBinary),
    Column("erased_at", DateTime(timezone=True)),
)

#: One row: how far the log has come. Whoever appends holds it.
log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    #: the newest checkpoint, signed
    Column("note", Text, nullable=False),
    #: the log's key set, public keys only
    Column("key_set", Text, nullable=False),
)

#: The Merkle tree's nodes in pieces (C2SP tlog-tiles): up to 256 of a level, 32 bytes each.
tiles = Table(
    "tiles",
    metadata,
    Column("level", SmallInteger, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("nodes", LargeBinary, nullable=False),
)

#: Checkpoints that somebody else vouches for: witnesses, a time-stamp authority.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    #: RFC 3161 TimeStampResp, DER
    Column("timestamp_token", LargeBinary),
)
