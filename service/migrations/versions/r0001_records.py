"""Records and their payloads, as the first stores had them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "records",
        # SQLite numbers rows by itself only for INTEGER keys.
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model", sa.String(63)),
        sa.Column("version", sa.String(9)),
        sa.Column("decision", sa.String(256)),
        sa.Column("score", sa.Float),
        sa.Column("caller", sa.String(256)),
        sa.Column("request_id", sa.String(128)),
        sa.Column("parent_id", sa.String(36)),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("records_by_model", "records", ["model", "version", "sequence"])
    has_parent = sa.text("parent_id IS NOT NULL")
    op.create_index(
        "records_by_parent", "records", ["parent_id"],
        sqlite_where=has_parent, postgresql_where=has_parent,
    )  # fmt: skip
    op.create_table(
        "payloads",
        sa.Column("record_id", sa.String(36), sa.ForeignKey("records.id"), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("commitment", sa.String(64), nullable=False),
        sa.Column("content", sa.LargeBinary),
        sa.Column("erased_at", sa.DateTime(timezone=True)),
    )
