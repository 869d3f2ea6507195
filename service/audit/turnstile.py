"""Processes that write one SQLite file take turns.

SQLite makes a writer who finds the file locked sleep and look again, up to 100 ms later,
while the one who just wrote takes the next group at once: the sleeper starves. Whoever
wants to write holds the turnstile until it has SQLite's lock, so that the one who just
wrote has to queue behind it. It is a courtesy and never a condition: SQLite's lock alone
keeps the file whole.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds between two looks at a taken turnstile.
LOOK_S = 0.001


class Turnstile:
    """A file lock that the system drops with its process, `kill -9` included.

    Args:
        path: the lock file; made when it is not there.
        patience_s: seconds after which a turn is taken without it: its holder may be stopped.
    """

    def __init__(self, path: Path, patience_s: float) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._patience_s = patience_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn and hold it."""
        held = self._take()
        try:
            yield
        finally:
            if held:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take(self) -> bool:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(LOOK_S)

    def close(self) -> None:
        """Leave it to the other processes."""
        os.close(self._file)
