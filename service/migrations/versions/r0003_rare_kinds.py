"""Records that are no predictions are found without going through all that are."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the kind of those again, with an index that predictions are not in."""
    op.add_column("records", sa.Column("rare_kind", sa.String(32)))
    op.execute("UPDATE records SET rare_kind = kind WHERE kind <> 'prediction'")
    is_rare = sa.text("rare_kind IS NOT NULL")
    op.create_index(
        "records_by_rare_kind", "records", ["rare_kind", "sequence"],
        sqlite_where=is_rare, postgresql_where=is_rare,
    )  # fmt: skip
