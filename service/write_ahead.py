"""SQLite files that several processes open in their first moment."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final

#: How long a file may be somebody else's while it is turned, and how soon one looks again.
PATIENCE_S: Final = 5.0
AGAIN_S: Final = 0.02


def use_write_ahead_log(execute: Callable[[str], Any]) -> None:
    """Have a file keep a write-ahead log, so that readers and the writer do not wait.

    Of two processes that turn a new file at once SQLite turns one away at once, whatever the
    busy timeout: waiting could be a deadlock. It tries again here.

    Args:
        execute: of a connection or a cursor.

    Raises:
        sqlite3.OperationalError: the file stayed somebody else's, or cannot be written.
    Source: https://www.sqlite.org/c3ref/busy_handler.html
    """
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(AGAIN_S)
