"""Tables of the record store; portable SQL, for SQLite and PostgreSQL alike."""

from __future__ import annotations

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
    String,
    Table,
)

#: Raised with every change below; a store written by a newer one is refused.
SCHEMA_VERSION = 1

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

#: One row an event; `body` is the record itself, canonical JSON, and all else is an index on it.
records = Table(
    "records",
    metadata,
    # SQLite numbers rows by itself only for INTEGER keys.
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
