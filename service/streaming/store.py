"""Where streams are durable: a journal, a snapshot of each stream, the alarm log, what is owed.

One file in the home, SQLite, written by the one process that owns the streams. What a turn brings
goes into one transaction, so that rows, alarms and what is owed for them stand together or not at
all. A snapshot holds a stream as of a place in the journal; the journal is kept from the oldest
place on that some stream has no snapshot of.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.anomaly.stream import StreamKey
from service.errors import Unavailable
from service.write_ahead import use_write_ahead_log

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS journal (place INTEGER PRIMARY KEY, entries BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (
    model TEXT, version TEXT, stream TEXT, place INTEGER NOT NULL, content BLOB,
    PRIMARY KEY (model, version, stream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, alarm TEXT NOT NULL, line TEXT NOT NULL,
    change TEXT NOT NULL, time INTEGER NOT NULL, live INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS alarms_by_alarm ON alarms (alarm, sequence);
CREATE INDEX IF NOT EXISTS alarms_by_line ON alarms (line, time);
CREATE INDEX IF NOT EXISTS alarms_that_stand ON alarms (alarm, sequence)
    WHERE live AND substr(change, 1, 6) IN ('flood-', 'drift-');
CREATE TABLE IF NOT EXISTS owed (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, said TEXT NOT NULL, window BLOB);
CREATE TABLE IF NOT EXISTS evidence (alarm TEXT PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID;
"""


class AlarmLine(NamedTuple):
    """A line of the alarm log; `body` is its canonical JSON."""

    alarm: str
    line: str
    change: str
    time: int
    live: bool
    body: str


class Owed(NamedTuple):
    """Something to be done once the turn is durable: a record to write, an explanation to ask."""

    kind: str
    said: str
    window: bytes | None = None


@dataclass(slots=True)
class Turn:
    """What one turn of the engine makes durable, at its place in the journal."""

    place: int
    entries: bytes = b""
    alarms: list[AlarmLine] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    #: streams as of this turn; None = forgotten
    snapshots: list[tuple[StreamKey, bytes | None]] = field(default_factory=list)
    #: the journal is needed from this place on
    needed_from: int | None = None


class StreamStore:
    """The file. Every method may be called from any one thread at a time.

    Args:
        path: of the file; its folder is made.
        reads: whether it is only read here, beside the process that owns it.

    Raises:
        Unavailable: it cannot be opened.
    """

    def __init__(self, path: Path, *, reads: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=5
            )
            use_write_ahead_log(self._db.execute)
            # FULL makes the write-ahead log reach the disk before a commit returns.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
            if reads:
                self._db.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise Unavailable(f"streams: {path} cannot be opened ({error}).") from None

    def place(self) -> int:
        """Of the last turn."""
        found = self._db.execute(
            "SELECT max((SELECT coalesce(max(place), 0) FROM journal),"
            " (SELECT coalesce(max(place), 0) FROM snapshots))"
        )
        return int(found.fetchone()[0])

    def commit(self, turn: Turn) -> None:
        """Make a turn durable.

        Raises:
            Unavailable: it is not; nothing of it is.
        """
        place = turn.place
        with self._transaction():
            if turn.entries:
                self._db.execute("INSERT INTO journal VALUES (?, ?)", (place, turn.entries))
            self._db.executemany(
                "INSERT INTO alarms (alarm, line, change, time, live, body)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                turn.alarms,
            )
            self._db.executemany(
                "INSERT INTO owed (kind, said, window) VALUES (?, ?, ?)", turn.owed
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)",
                [(*key, place, content) for key, content in turn.snapshots],
            )
            if turn.needed_from is not None:
                self._db.execute("DELETE FROM journal WHERE place < ?", (turn.needed_from,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.rollback()
                raise
        except sqlite3.Error as error:
            raise Unavailable(
                f"streams: nothing was taken in, for it could not be made durable ({error}). "
                "Look at the disk of GLASSLINE_HOME, then send the rows again."
            ) from None

    def snapshots(self) -> Iterator[tuple[StreamKey, int, bytes | None]]:
        """Key, place and content of every snapshot; content None = forgotten there."""
        for model, version, stream, place, content in self._db.execute(
            "SELECT model, version, stream, place, content FROM snapshots"
        ):
            yield StreamKey(model, version, stream), place, content

    def journal(self) -> Iterator[tuple[int, bytes]]:
        """Places and entries, in their order."""
        yield from self._db.execute("SELECT place, entries FROM journal ORDER BY place")

    def recent_alarms(self, window: int) -> dict[str, tuple[list[int], bool]]:
        """When live alarms were raised in the last microseconds, and whether a flood was on.

        Args:
            window: microseconds before the newest alarm of a line.

        Returns:
            Both by line.
        """
        lines: dict[str, tuple[list[int], bool]] = {}
        newest = self._db.execute(
            "SELECT line, max(time) FROM alarms WHERE live AND change = 'raised' GROUP BY line"
        ).fetchall()
        for line, time in newest:
            rows = self._db.execute(
                "SELECT time FROM alarms WHERE line = ? AND time > ? AND live"
                " AND change = 'raised' ORDER BY sequence",
                (line, time - window),
            ).fetchall()
            last = self._db.execute(
                "SELECT change FROM alarms WHERE line = ? AND change LIKE 'flood-%'"
                " ORDER BY sequence DESC LIMIT 1",
                (line,),
            ).fetchone()
            lines[line] = ([row[0] for row in rows], bool(last and last[0] == "flood-begun"))
        return lines

    def events(
        self, after: int, limit: int, *, live: bool, alarm: str | None = None
    ) -> list[tuple[int, str, str]]:
        """Sequence, change and body of alarm events after a sequence, in their order."""
        where, values = ["sequence > ?"], [after]
        if live:
            where.append("live")
        more: list[Any] = list(values)
        if alarm is not None:
            where.append("alarm = ?")
            more.append(alarm)
        more.append(limit)
        return self._db.execute(
            f"SELECT sequence, change, body FROM alarms WHERE {' AND '.join(where)}"
            " ORDER BY sequence LIMIT ?",
            more,
        ).fetchall()

    def newest_alarms(self, limit: int, stream: str | None, *, history: bool) -> list[str]:
        """Ids of alarms that were raised last, the newest first."""
        prefix = f"{stream}:" if stream else ""
        rows = self._db.execute(
            "SELECT alarm FROM alarms WHERE change = 'raised' AND (live OR ?)"
            " AND substr(alarm, 1, ?) = ? ORDER BY sequence DESC LIMIT ?",
            (history, len(prefix), prefix, limit),
        )
        return [row[0] for row in rows]

    def standing(self) -> list[str]:
        """Bodies of the live events by which floods and drifts began that are not over."""
        rows = self._db.execute(
            "SELECT body FROM alarms WHERE sequence IN"
            " (SELECT max(sequence) FROM alarms INDEXED BY alarms_that_stand"
            "  WHERE live AND substr(change, 1, 6) IN ('flood-', 'drift-') GROUP BY alarm)"
            " AND change LIKE '%-begun' ORDER BY sequence"
        )
        return [row[0] for row in rows]

    def last_sequence(self) -> int:
        """Sequence of the newest alarm event; 0 = there is none."""
        return int(self._db.execute("SELECT max(sequence) FROM alarms").fetchone()[0] or 0)

    def owed(self, limit: int, after: int = 0) -> Sequence[tuple[int, str, str, bytes | None]]:
        """Number, kind, what is said and window of what is owed, the oldest after one first."""
        return self._db.execute(
            "SELECT number, kind, said, window FROM owed WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        ).fetchall()

    def paid(self, paid: Sequence[tuple[int, dict[str, Any] | None]]) -> None:
        """These are done; where there is evidence of an alarm, it is remembered.

        Raises:
            Unavailable: it could not be written down.
        """
        with self._transaction():
            self._db.executemany("DELETE FROM owed WHERE number = ?", [(n,) for n, _ in paid])
            self._db.executemany(
                "INSERT OR REPLACE INTO evidence VALUES (?, ?)",
                [(said["alarm"], json.dumps(said)) for _, said in paid if said],
            )

    def evidence(self, alarm: str) -> dict[str, Any]:
        """Ids of an alarm's records and of its explanation's job; empty if there are none yet."""
        row = self._db.execute("SELECT said FROM evidence WHERE alarm = ?", (alarm,)).fetchone()
        return json.loads(row[0]) if row else {}

    def close(self) -> None:
        """Close the file."""
        self._db.close()
