"""Inbox and outbox in one SQLite file: what stands in it survives a kill and a power cut.

One thread owns the file. What several tasks ask of it at the same time is one transaction and one
fsync, and nobody is answered before that.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from service.connectors.entries import Arrival, Fold, Kept, Message, Posted
from service.connectors.letters import Letter
from service.errors import Conflict, Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, topic TEXT NOT NULL,
    payload BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS inbox_key ON inbox (key, id);
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    topic TEXT NOT NULL, payload BLOB NOT NULL, sha256 TEXT NOT NULL, published_at REAL);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (number) WHERE published_at IS NULL;
CREATE INDEX IF NOT EXISTS outbox_done ON outbox (published_at) WHERE published_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS joins (key TEXT PRIMARY KEY, state BLOB NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
#: Asked for together, at most this many things are one transaction.
_TOGETHER = 512
#: Seconds for which the content of a published letter is kept; between two looks for older ones.
_KEEP_S, _TIDY_S = 120.0, 30.0
Result = TypeVar("Result")
_Job = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]


class Ledger:
    """Messages that came and are not yet worked off, letters that are not yet published.

    Args:
        file: where; its folder must be there.
        remember_s: seconds for which the id of a published letter is known.

    Raises:
        Conflict: another bridge uses the file.
        Unavailable: it cannot be opened.
    """

    def __init__(self, file: Path, remember_s: float) -> None:
        self._remember_s = remember_s
        self._forgotten = 0.0
        #: messages that wait
        self.inbox = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        try:
            self._lock = file.with_name(f"{file.name}.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"{file}: another bridge works with it; give each its own.") from None
        except OSError as error:
            raise Unavailable(f"{file}: cannot be opened ({error.strerror}).") from None
        opened: Future[None] = Future()
        self._thread = Thread(target=self._run, args=(file, opened), name="ledger", daemon=True)
        self._thread.start()
        opened.result()

    async def arrive(
        self,
        messages: Sequence[Message],
        joins: Mapping[str, Fold],
        letters: Sequence[Letter] = (),
    ) -> Kept:
        """Keep what came; durable when this returns.

        Args:
            messages: key, topic, payload.
            joins: what is made of single values, by key.
            letters: about messages that cannot be taken.
        """

        def all_(db: sqlite3.Connection) -> tuple[int, Kept]:
            rows, dead, now = list(messages), list(letters), time.time()
            for key, fold in joins.items():
                found = db.execute("SELECT state FROM joins WHERE key = ?", (key,)).fetchone()
                joined = fold(found[0] if found else None)
                db.execute(
                    "INSERT OR REPLACE INTO joins VALUES (?, ?, ?)", (key, joined.state, now)
                )
                rows += joined.messages
                dead += joined.letters
            db.executemany("INSERT INTO inbox (key, topic, payload) VALUES (?, ?, ?)", rows)
            keys = frozenset(key for key, _, _ in rows)
            return len(rows), Kept(keys, dead, _post(db, dead))

        waiting, kept = await self._do(all_)
        self.inbox += waiting
        return kept

    async def keys(self) -> list[str]:
        """Keys that have messages, the longest waiting first."""
        rows = await self._rows("SELECT key FROM inbox GROUP BY key ORDER BY min(id)")
        return [row[0] for row in rows]

    async def oldest(self, key: str, limit: int) -> list[Arrival]:
        """The first messages of a key, in the order in which they came."""
        text = "SELECT id, topic, payload, done FROM inbox WHERE key = ? ORDER BY id LIMIT ?"
        return [Arrival(*row) for row in await self._rows(text, key, limit)]

    async def post(
        self,
        letters: Sequence[Letter],
        finished: Iterable[Arrival] = (),
        begun: tuple[Arrival, int] | None = None,
        mark: tuple[str, str] | None = None,
    ) -> Posted:
        """Letters and what they are made of: all or none.

        Args:
            letters: one whose id stands in the outbox keeps its first content.
            finished: messages that leave the inbox.
            begun: a message that stays, and how many rows of it are worked off.
            mark: name of another source, and how far it is read.
        """
        ids = [(one.id,) for one in finished]

        def all_(db: sqlite3.Connection) -> Posted:
            db.executemany("DELETE FROM inbox WHERE id = ?", ids)
            if begun is not None:
                db.execute("UPDATE inbox SET done = ? WHERE id = ?", (begun[1], begun[0].id))
            if mark is not None:
                db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", mark)
            return _post(db, letters)

        posted = await self._do(all_)
        self.inbox -= len(ids)
        return posted

    async def mark(self, name: str) -> str | None:
        """How far something has been read."""
        rows = await self._rows("SELECT value FROM marks WHERE name = ?", name)
        return rows[0][0] if rows else None

    async def waiting(self, limit: int) -> list[tuple[int, Letter]]:
        """Letters that are not published, oldest first, each with its number."""
        text = (
            "SELECT number, id, kind, topic, payload FROM outbox WHERE published_at IS NULL "
            "ORDER BY number LIMIT ?"
        )
        return [(row[0], Letter(*row[1:])) for row in await self._rows(text, limit)]

    async def published(self, numbers: Iterable[int]) -> None:
        """The broker has acknowledged these."""
        done = [(time.time(), number) for number in numbers]
        await self._do(
            lambda db: db.executemany("UPDATE outbox SET published_at = ? WHERE number = ?", done)
        )

    async def again(self, seconds: float) -> int:
        """Publish anew what was acknowledged in the last seconds before the last acknowledgement.

        Returns:
            How many letters.
        """
        text = (
            "UPDATE outbox SET published_at = NULL WHERE payload != x'' AND published_at > "
            "(SELECT max(published_at) FROM outbox) - ?"
        )
        return await self._do(lambda db: db.execute(text, (seconds,)).rowcount)

    async def outbox(self) -> int:
        """Letters that wait."""
        rows = await self._rows("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        return int(rows[0][0])

    def close(self) -> None:
        """Finish what was asked and let go of the file."""
        self._jobs.put(None)
        self._thread.join()
        self._lock.close()

    async def _rows(self, text: str, *values: Any) -> list[Any]:
        return await self._do(lambda db: db.execute(text, values).fetchall())

    async def _do(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        done: Future[Result] = Future()
        self._jobs.put((job, done))
        return await asyncio.wrap_future(done)

    def _run(self, file: Path, opened: Future[None]) -> None:
        try:
            db = sqlite3.connect(file, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(_SCHEMA)
            (self.inbox,) = db.execute("SELECT count(*) FROM inbox").fetchone()
        except sqlite3.Error as error:
            opened.set_exception(Unavailable(f"{file}: cannot be used as inbox ({error})."))
            return
        opened.set_result(None)
        open_ = True
        while open_:
            jobs = [self._jobs.get()]
            while len(jobs) < _TOGETHER and not self._jobs.empty():
                jobs.append(self._jobs.get())
            open_ = None not in jobs
            self._together(db, [job for job in jobs if job is not None])
        db.close()

    def _together(self, db: sqlite3.Connection, jobs: list[_Job]) -> None:
        """One transaction; whoever asked is told after its fsync, or that nothing was done."""
        jobs = [(job, done) for job, done in jobs if done.set_running_or_notify_cancel()]
        results: list[Any] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            results = [job(db) for job, _ in jobs]
            self._forget(db)
            db.execute("COMMIT")
        except Exception as error:  # a full disk, above all: nobody may wait for ever
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            for _, done in jobs:
                done.set_exception(Unavailable(f"inbox: cannot be written ({error})."))
            return
        for (_, done), result in zip(jobs, results, strict=True):
            done.set_result(result)

    def _forget(self, db: sqlite3.Connection) -> None:
        """The content of letters that are published for good, and ids of long ago."""
        now = time.time()
        if now - self._forgotten < _TIDY_S:
            return
        before, self._forgotten = self._forgotten, now
        # The highest few stay: `again` counts back from the last acknowledgement.
        said = (before - _KEEP_S - _TIDY_S, now - _KEEP_S)
        db.execute(
            "UPDATE outbox SET payload = x'' WHERE published_at BETWEEN ? AND ? AND payload != x''",
            said,
        )
        db.execute("DELETE FROM outbox WHERE published_at < ?", (now - self._remember_s,))
        db.execute("DELETE FROM joins WHERE at < ?", (now - self._remember_s,))


def _post(db: sqlite3.Connection, letters: Sequence[Letter]) -> Posted:
    """Put letters into the outbox; an id that stands there keeps its first content."""
    new, again, conflicts = 0, 0, []
    for one in letters:
        done = db.execute(
            "INSERT OR IGNORE INTO outbox (id, kind, topic, payload, sha256) "
            "VALUES (?, ?, ?, ?, ?)",
            (one.id, one.kind, one.topic, one.payload, one.sha256),
        )
        if done.rowcount:
            new += 1
            continue
        (digest,) = db.execute("SELECT sha256 FROM outbox WHERE id = ?", (one.id,)).fetchone()
        if digest == one.sha256:
            again += 1
        else:
            conflicts.append(one.id)
    return Posted(new, again, tuple(conflicts))
