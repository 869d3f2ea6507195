"""The tables of a record store, brought to what this Glassline knows, under a lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine, inspect, text

from service.audit.schema import REVISION
from service.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

_FOLDER: Final = Path(__file__).resolve().parents[1] / "migrations"
#: PostgreSQL's lock of migrations: "glassline" as a number.
_LOCK: Final = int.from_bytes(b"glasslin", "big") >> 1


def migrate(engine: Engine) -> None:
    """Make or bring forward the tables; does nothing where they are as they must be.

    Workers start together: the first to take the lock does it, and the others find it done.

    Raises:
        StoreError: a newer Glassline wrote this store.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = _revision(connection)
        if found != REVISION:
            _upgrade(connection, found)


def _revision(connection: Connection) -> str | None:
    """Of the last step that was taken; None where there is no store yet.

    Raises:
        StoreError: a newer Glassline took a step that this one does not know.
    """
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found is None or found > REVISION:
            raise StoreError(
                f"record store: has schema {found}, this Glassline knows {REVISION}. "
                "Install the Glassline that wrote it, or a newer one."
            )
        return str(found)
    return "0001" if "schema_version" in tables else None


def configured(connection: Connection) -> Config:
    """Alembic's configuration, for a connection that is open."""
    from alembic.config import Config  # 0.2 s, and hardly ever needed

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _upgrade(connection: Connection, found: str | None) -> None:
    from alembic import command

    config = configured(connection)
    if found == "0001":  # a store from before there were migrations knows its step by no name
        command.stamp(config, found)
    command.upgrade(config, "head")
