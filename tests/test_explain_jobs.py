"""An accepted job is claimed once, finished or reported, and never lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from service.audit.record import new_id
from service.errors import Conflict, Overloaded, UnknownRecord
from service.explain_jobs import ATTEMPTS, SILENCE_S, JobStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def jobs(url: str) -> Iterator[JobStore]:
    store = JobStore(url, limit=50)
    yield store
    store.close()


def accept(jobs: JobStore) -> str:
    return jobs.accept(new_id(), {"seed": 1}, "somebody").id


def silence(url: str) -> None:
    """Every worker was last heard long ago."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE explanation_jobs SET heard_at = heard_at - :s"), {"s": SILENCE_S + 1}
        )
    engine.dispose()


def test_a_job_goes_through_its_states(jobs: JobStore) -> None:
    job_id = accept(jobs)
    assert jobs.get(job_id).state == "queued"
    claimed = jobs.claim("worker")
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.attempts) == (job_id, "running", 1)
    assert claimed.parameters == {"seed": 1}
    assert jobs.beat(job_id, "worker", 100, 1000)
    assert (jobs.get(job_id).samples_done, jobs.get(job_id).samples) == (100, 1000)
    assert jobs.finish(job_id, "worker", "explanation", 1000)
    done = jobs.get(job_id)
    assert (done.state, done.explanation_id) == ("done", "explanation")
    assert jobs.claim("worker") is None


def test_jobs_are_claimed_once_and_in_order(jobs: JobStore) -> None:
    accepted = [accept(jobs) for _ in range(40)]
    claimed: list[str] = []

    def work(name: str) -> None:
        while job := jobs.claim(name):
            claimed.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(accepted)
    assert len(set(claimed)) == 40


def test_a_silent_worker_loses_its_job_and_cannot_finish_it(jobs: JobStore, url: str) -> None:
    job_id = accept(jobs)
    jobs.claim("dead")
    assert jobs.claim("other") is None
    silence(url)
    again = jobs.claim("other")
    assert again is not None
    assert (again.id, again.attempts) == (job_id, 2)
    assert not jobs.beat(job_id, "dead", 1, 2)
    assert not jobs.finish(job_id, "dead", "explanation", 1000)
    assert jobs.get(job_id).state == "running"


def test_a_job_that_kills_its_workers_is_reported(jobs: JobStore, url: str) -> None:
    job_id = accept(jobs)
    for attempt in range(ATTEMPTS):
        assert jobs.claim(f"worker {attempt}") is not None
        silence(url)
    assert jobs.claim("survivor") is None
    failed = jobs.get(job_id)
    assert failed.state == "failed"
    assert "died" in (failed.error or "")


def test_a_cancelled_job_is_nobodys(jobs: JobStore) -> None:
    queued, running = accept(jobs), accept(jobs)
    assert jobs.cancel(queued).state == "cancelled"
    claimed = jobs.claim("worker")
    assert claimed is not None
    assert claimed.id == running
    jobs.cancel(running)
    assert not jobs.beat(running, "worker", 1, 2)
    assert not jobs.fail(running, "worker", "ExplanationError", "too late")
    with pytest.raises(Conflict, match="cancelled already"):
        jobs.cancel(running)


def test_one_more_than_may_wait_is_refused(url: str) -> None:
    jobs = JobStore(url, limit=2)
    first = accept(jobs)
    accept(jobs)
    with pytest.raises(Overloaded, match="GLASSLINE_EXPLAIN_JOBS"):
        accept(jobs)
    jobs.cancel(first)
    accept(jobs)
    jobs.close()


@pytest.mark.parametrize(
    "unknown", ["", "x", "01890a5d-ac96-774b-bcce-b302099a8057", "a" * 64, "\x00", "é" * 36]
)
def test_an_unknown_job_is_not_found(jobs: JobStore, unknown: str) -> None:
    with pytest.raises(UnknownRecord):
        jobs.get(unknown)
    with pytest.raises(UnknownRecord):
        jobs.cancel(unknown)
