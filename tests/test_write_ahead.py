"""A new SQLite file is opened by many at once, and nobody is turned away."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from service.explain_jobs import JobStore
from service.write_ahead import use_write_ahead_log


def test_who_opens_a_new_file_at_once_waits(tmp_path: Path) -> None:
    for turn in range(20):
        url, together = f"sqlite:///{tmp_path / f'{turn}.db'}", threading.Barrier(6)
        failures: list[BaseException] = []

        def opened(url: str = url, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                JobStore(url, 4).close()
            except BaseException as failure:
                failures.append(failure)  # noqa: B023 - joined before the next turn

        threads = [threading.Thread(target=opened) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures


def test_a_file_that_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_bytes(b"no database at all" * 100)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        use_write_ahead_log(connection.execute)
    connection.close()
