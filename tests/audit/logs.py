"""Logs as the sequencer keeps them, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from service.audit.keyholder import Keyholder
from service.audit.log_writer import LogWriter
from service.audit.store import RecordStore

#: Where a PostgreSQL runs that tests may make databases in.
SERVER = os.environ.get(
    "GLASSLINE_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)


def a_keyholder(folder: Path) -> Keyholder:
    return Keyholder(folder / "keys", environment={})


def a_log(path: Path) -> LogWriter:
    """A writer of a SQLite log in this file, its key beside it."""
    return LogWriter(RecordStore(f"sqlite:///{path}"), a_keyholder(path.parent), "log.example/l")


def postgresql_database() -> Iterator[str]:
    """URL of a database of its own, dropped afterwards; skips where no PostgreSQL answers."""
    try:
        server = create_engine(
            SERVER, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3}
        )
        name = f"glassline_{uuid.uuid4().hex[:12]}"
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except (DBAPIError, ImportError) as error:
        pytest.skip(
            f"NO POSTGRESQL at {SERVER}: what is promised of it goes UNTESTED here. Set "
            f"GLASSLINE_TEST_POSTGRESQL. ({error})"
        )
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def database_of(kind: str, folder: Path) -> Iterator[str]:
    """URL of an empty database of this kind: sqlite or postgresql."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'records.db'}"
    else:
        yield from postgresql_database()
