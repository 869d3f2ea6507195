"""The explaining process works off accepted jobs, beside what is asked for at once."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from service import metrics
from service.errors import GlasslineError
from service.explain.parameters import ExplainParameters
from service.explain_jobs import Job, JobStore

Progress = Callable[[int, int], None]
#: Explains: record id, parameters, seconds, progress -> the answer with its `explanation_id`.
Explain = Callable[[str, ExplainParameters, float, Progress], dict[str, Any]]

POLL_S = 0.25
BEAT_S = 1.0
_log = logging.getLogger("glassline.jobs")


class Abandoned(GlasslineError):
    """The job was cancelled, or given to another worker."""


class JobWorker:
    """A thread that claims jobs and explains them.

    Args:
        jobs: where they are.
        explain: see `Explain`.
        timeout_s: seconds that one may take.
    """

    def __init__(self, jobs: JobStore, explain: Explain, timeout_s: float) -> None:
        self._jobs = jobs
        self._explain = explain
        self._timeout_s = timeout_s
        self._name = f"{socket.gethostname()[:40]}:{os.getpid()}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glassline-jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Claim no more; one that runs goes back to the queue by itself."""
        self._stop.set()
        self._thread.join(BEAT_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                job = self._jobs.claim(self._name)
            except GlasslineError as error:
                _log.error("%s", error)
                job = None
            if job is None:
                self._stop.wait(POLL_S)
            else:
                self._work(job)

    def _work(self, job: Job) -> None:
        pulse = _Pulse(self._jobs, job, self._name)
        try:
            answer = self._explain(
                job.record_id,
                ExplainParameters(**job.parameters),
                self._timeout_s,
                pulse.progress,
            )
            samples = int(answer["explanation"]["samples_used"])
            self._jobs.finish(job.id, self._name, answer["explanation_id"], samples)
            metrics.EXPLANATIONS.labels("done").inc()
        except Abandoned:
            metrics.EXPLANATIONS.labels("Abandoned").inc()
        except GlasslineError as error:
            metrics.EXPLANATIONS.labels(type(error).__name__).inc()
            self._fail(job, type(error).__name__, str(error))
        except Exception as error:  # a job that is not reported would be tried for ever
            _log.exception("job %s failed", job.id)
            self._fail(
                job, "GlasslineError", f"internal error ({type(error).__name__}), see the log."
            )
        finally:
            pulse.stop()

    def _fail(self, job: Job, kind: str, message: str) -> None:
        try:
            self._jobs.fail(job.id, self._name, kind, message)
        except GlasslineError as error:  # it will be found silent, and tried again
            _log.error("job %s: %s", job.id, error)


class _Pulse:
    """Keeps a job this worker's, and passes its progress on."""

    def __init__(self, jobs: JobStore, job: Job, worker: str) -> None:
        self._jobs = jobs
        self._job = job
        self._worker = worker
        self._samples: tuple[int, int | None] = (0, None)
        self._lost = False
        self._over = threading.Event()
        # In a thread: a job may wait long for an explanation that somebody asked for at once.
        self._thread = threading.Thread(target=self._beat, name="glassline-pulse", daemon=True)
        self._thread.start()

    def progress(self, done: int, total: int) -> None:
        """Some samples are done; ends the explanation when the job is not ours any more."""
        self._samples = (done, total)
        if self._lost:
            raise Abandoned(f"job {self._job.id} was cancelled.")

    def _beat(self) -> None:
        began = time.monotonic()
        while not self._over.wait(min(BEAT_S, 0.1 + (time.monotonic() - began) / 4)):
            try:
                self._lost = not self._jobs.beat(self._job.id, self._worker, *self._samples)
            except GlasslineError as error:
                _log.error("job %s: %s", self._job.id, error)
            if self._lost:
                return

    def stop(self) -> None:
        """The job is over."""
        self._over.set()
        self._thread.join()
