"""The log: a place without gaps and a signature for each record, the tree, the checkpoint."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what the log needs; whoever writes next builds the tree over the records there are."""
    op.add_column("records", sa.Column("signature", sa.LargeBinary))
    op.add_column("records", sa.Column("key_number", sa.SmallInteger))
    _close_gaps()
    op.create_table(
        "log",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("key_set", sa.Text, nullable=False),
    )
    op.create_table(
        "tiles",
        sa.Column("level", sa.SmallInteger, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("nodes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("timestamp_token", sa.LargeBinary),
    )
    # Programs from before there were migrations look here, and must not write without a tree.
    op.execute("UPDATE schema_version SET version = 2")
    op.execute(
        "INSERT INTO schema_version SELECT 2 WHERE NOT EXISTS (SELECT 1 FROM schema_version)"
    )


def _close_gaps() -> None:
    """Number records from 1 without gaps, in their order.

    PostgreSQL leaves a gap where a transaction failed. Through the negative numbers, so that no
    two records ever have one.
    """
    op.execute(
        "UPDATE records SET sequence = -(SELECT place FROM (SELECT sequence AS old, "
        "row_number() OVER (ORDER BY sequence) AS place FROM records) AS ordered "
        "WHERE old = records.sequence)"
        if op.get_bind().dialect.name == "sqlite"
        else "UPDATE records SET sequence = -ordered.place FROM (SELECT sequence AS old, "
        "row_number() OVER (ORDER BY sequence) AS place FROM records) AS ordered "
        "WHERE ordered.old = records.sequence"
    )
    op.execute("UPDATE records SET sequence = -sequence WHERE sequence < 0")
