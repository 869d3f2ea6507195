"""Explanations for later: who prefers that, and what a job looks like from outside (RFC 7240)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.explain_jobs import Job


def prefers_later(prefer: str) -> bool:
    """Whether a `Prefer` header asks for respond-async (RFC 7240, section 4.1)."""
    preferences = (part.partition(";")[0].strip().lower() for part in prefer.split(","))
    return "respond-async" in preferences


def shown(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    links = {"self": f"/v2/jobs/{job.id}", "prediction": f"/audit/records/{job.record_id}"}
    if job.explanation_id:
        links["explanation"] = f"/v2/explanations/{job.explanation_id}"
    return {
        "job_id": job.id,
        "state": job.state,
        "record_id": job.record_id,
        "parameters": job.parameters,
        "progress": {"samples_done": job.samples_done, "samples": job.samples},
        "attempts": job.attempts,
        "created_at": _moment(job.created_at),
        "finished_at": None if job.finished_at is None else _moment(job.finished_at),
        "explanation_id": job.explanation_id,
        "error": None if job.error is None else {"kind": job.error_kind, "message": job.error},
        "links": links,
    }


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.isoformat(timespec='milliseconds')[:23]}Z"
