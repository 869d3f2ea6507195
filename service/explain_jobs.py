"""Explanations accepted for later: a table that survives every process.

A predicting process accepts, an explaining process claims, works, and beats its heart
meanwhile. A job whose worker fell silent is claimed again, three times at most; then it is
reported failed. So an accepted job is finished or reported, and never lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import uuid_utils
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from service.errors import Conflict, Overloaded, Unavailable, UnknownRecord
from service.settings import Settings
from service.write_ahead import use_write_ahead_log

#: Seconds of silence after which a job's worker counts as dead.
SILENCE_S = 10.0
ATTEMPTS = 3
#: Seconds that finished jobs are remembered.
KEEP_S = 7 * 24 * 3600.0
WAITING = ("queued", "running")

_metadata = MetaData()
_jobs = Table(
    "explanation_jobs",
    _metadata,
    Column("id", String(36), primary_key=True),
    Column("record_id", String(36), nullable=False),
    Column("parameters", Text, nullable=False),
    Column("caller", String(256), nullable=False),
    Column("state", String(16), nullable=False),
    Column("samples_done", Integer, nullable=False, default=0),
    Column("samples", Integer),
    Column("attempts", Integer, nullable=False, default=0),
    Column("worker", String(64)),
    Column("heard_at", Float),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("explanation_id", String(36)),
    Column("error_kind", String(64)),
    Column("error", Text),
    Index("explanation_jobs_by_state", "state", "created_at"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted explanation.

    `state` is queued, running, done, failed or cancelled; times are seconds since 1970.
    """

    id: str
    record_id: str
    parameters: Mapping[str, Any]
    caller: str
    state: str
    samples_done: int
    samples: int | None
    attempts: int
    created_at: float
    finished_at: float | None
    explanation_id: str | None
    error_kind: str | None
    error: str | None


class JobStore:
    """The table of accepted explanations.

    Args:
        url: SQLAlchemy URL.
        limit: jobs that may wait or run; one more is refused.

    Raises:
        Unavailable: the database cannot be opened.
    """

    def __init__(self, url: str, limit: int) -> None:
        self._limit = limit
        self._engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _configure_sqlite)
        with self._transaction() as connection:
            _metadata.create_all(connection)

    @classmethod
    def of(cls, settings: Settings) -> JobStore:
        """The store that the settings say: beside the records, in a file of its own for SQLite."""
        url = settings.database_url
        if not url or url.startswith("sqlite"):
            settings.root.mkdir(parents=True, exist_ok=True)
            url = f"sqlite:///{settings.root / 'jobs.db'}"
        return cls(url, settings.explain_jobs)

    def accept(self, record_id: str, parameters: Mapping[str, Any], caller: str) -> Job:
        """Accept an explanation; it is durable when this returns.

        Args:
            record_id: of the prediction to explain.
            parameters: JSON values.
            caller: who asked.

        Raises:
            Overloaded: too many jobs wait.
            Unavailable: the database does not answer.
        """
        job_id, now = str(uuid_utils.uuid7()), time.time()
        with self._transaction() as connection:
            waiting = _waiting(connection)
            if waiting >= self._limit:
                raise Overloaded(
                    f"explanation jobs: {waiting} wait and {self._limit} may. Try again later, or "
                    "raise GLASSLINE_EXPLAIN_JOBS or GLASSLINE_EXPLAIN_WORKERS.",
                    retry_after_s=5,
                )
            connection.execute(delete(_jobs).where(_jobs.c.finished_at < now - KEEP_S))
            connection.execute(
                insert(_jobs).values(
                    id=job_id,
                    record_id=record_id,
                    parameters=orjson.dumps(dict(parameters)).decode(),
                    caller=caller[:256],
                    state="queued",
                    samples_done=0,
                    attempts=0,
                    created_at=now,
                )
            )
        return self.get(job_id)

    def waiting(self) -> int:
        """Jobs that wait or run."""
        with self._transaction() as connection:
            return _waiting(connection)

    def get(self, job_id: str) -> Job:
        """The job of this id.

        Raises:
            UnknownRecord: there is none, or it was finished long ago.
        """
        with self._transaction() as connection:
            return _job(connection, job_id)

    def cancel(self, job_id: str) -> Job:
        """Take a job back; one that runs stops at its next batch.

        Raises:
            UnknownRecord: there is none.
            Conflict: it is over already.
        """
        with self._transaction() as connection:
            changed = connection.execute(
                update(_jobs)
                .where(_jobs.c.id == job_id, _jobs.c.state.in_(WAITING))
                .values(state="cancelled", finished_at=time.time())
            ).rowcount
            job = _job(connection, job_id)
        if not changed:
            raise Conflict(f"job {job_id} is {job.state} already and cannot be cancelled.")
        return job

    def claim(self, worker: str) -> Job | None:
        """The job that has waited longest, now this worker's; None when none waits."""
        now = time.time()
        with self._transaction() as connection:
            self._take_from_the_silent(connection, now)
            waiting = (
                select(_jobs.c.id)
                .where(_jobs.c.state == "queued")
                .order_by(_jobs.c.created_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            job_id = connection.execute(waiting).scalar()
            if job_id is None:
                return None
            connection.execute(
                update(_jobs)
                .where(_jobs.c.id == job_id)
                .values(state="running", worker=worker, heard_at=now, attempts=_jobs.c.attempts + 1)
            )
            return _job(connection, job_id)

    def beat(self, job_id: str, worker: str, samples_done: int, samples: int | None) -> bool:
        """Say that the work goes on; False when the job is not this worker's any more."""
        return self._own(
            job_id, worker, heard_at=time.time(), samples_done=samples_done, samples=samples
        )

    def finish(self, job_id: str, worker: str, explanation_id: str, samples: int) -> bool:
        """The work is done, with so many samples, and recorded under this id; False as `beat`."""
        return self._own(
            job_id,
            worker,
            state="done",
            finished_at=time.time(),
            explanation_id=explanation_id,
            samples_done=samples,
            samples=samples,
        )

    def fail(self, job_id: str, worker: str, kind: str, message: str) -> bool:
        """The work cannot be done; False as with `beat`."""
        return self._own(
            job_id, worker, state="failed", finished_at=time.time(), error_kind=kind, error=message
        )

    def _own(self, job_id: str, worker: str, **values: Any) -> bool:
        mine = (_jobs.c.id == job_id) & (_jobs.c.worker == worker) & (_jobs.c.state == "running")
        with self._transaction() as connection:
            return connection.execute(update(_jobs).where(mine).values(**values)).rowcount == 1

    @staticmethod
    def _take_from_the_silent(connection: Connection, now: float) -> None:
        silent = (_jobs.c.state == "running") & (_jobs.c.heard_at < now - SILENCE_S)
        connection.execute(
            update(_jobs)
            .where(silent, _jobs.c.attempts >= ATTEMPTS)
            .values(
                state="failed",
                finished_at=now,
                error_kind="ExplanationError",
                error=f"the explaining process died {ATTEMPTS} times over this explanation. Ask "
                "for fewer num_samples, or look into the server's log.",
            )
        )
        connection.execute(update(_jobs).where(silent).values(state="queued", worker=None))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                if self._engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
        except DBAPIError as error:
            raise Unavailable(
                f"explanation jobs: no answer from the database ({error.orig})."
            ) from None

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _waiting(connection: Connection) -> int:
    query = select(func.count()).select_from(_jobs).where(_jobs.c.state.in_(WAITING))
    return int(connection.execute(query).scalar_one())


def _job(connection: Connection, job_id: str) -> Job:
    names = [c for c in _jobs.columns if c.name not in ("worker", "heard_at")]
    row = connection.execute(select(*names).where(_jobs.c.id == job_id[:36])).mappings().first()
    if row is None or len(job_id) != 36:
        shown = job_id[:80].encode("ascii", "backslashreplace").decode()
        raise UnknownRecord(f"no explanation job has the id '{shown}', or it is long over.")
    return Job(**{**row, "parameters": orjson.loads(row["parameters"])})


def _configure_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 5000")
    use_write_ahead_log(cursor.execute)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
