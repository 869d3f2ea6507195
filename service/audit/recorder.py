"""What happened, put into records: the constant parts once, the rest per event."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from numpy.typing import NDArray

from service import __version__
from service.audit.arrays import described, described_part, encode_array
from service.audit.canonical import canonical_part
from service.audit.channel import RecordChannel
from service.audit.decided import decided
from service.audit.record import Payload, build, build_prepared, new_id, timestamp
from service.audit.recorded_model import RecordedModel
from service.audit.store import StoredRecord
from service.audit.writer import RecordWriter
from service.tasks.deadline import Late

if TYPE_CHECKING:
    from service.explain.evidence import NativeEvidence
    from service.explain.explanation import ImageExplanation
    from service.explain.feature_explanation import FeatureExplanation

#: Makes records durable: `submit` from an event loop, `append` from any thread.
Writer = RecordChannel | RecordWriter
NPY = "application/x-npy"
JSON = "application/json"


@dataclass(slots=True)
class RequestContext:
    """Who asked, and under which ids; it goes into the record."""

    request_id: str
    caller: str
    trace_id: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: by `time.perf_counter`: what a latency budget is counted from
    arrived: float = field(default_factory=time.perf_counter)


class Recorder:
    """Records events through a writer.

    Args:
        writer: makes them durable.
        service: name of the recording service.
    """

    def __init__(self, writer: Writer, service: str) -> None:
        self._writer = writer
        self._name = service
        self._service = canonical_part(
            {
                "name": service,
                "version": __version__,
                "host": socket.gethostname(),
                "pid": os.getpid(),
            }
        )

    def prediction(
        self,
        model: RecordedModel,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, NDArray[Any]],
        context: RequestContext,
        record_id: str | None = None,
        late: Late | None = None,
    ) -> tuple[str, asyncio.Future[None]]:
        """Record a prediction; returns its id, and a future that is done once it is durable.

        Outputs as large as the input stand in it by their digests: they can be computed again
        from the input, and go with it when it is erased. Nobody may be told before: the future
        raises Unavailable where it could not be. An answer that was `late` says so, and where it
        was the fail-safe, that it was, and why.

        Raises:
            Unavailable: the writer is closed.
            Overloaded: too many records wait.
        """
        record_id = record_id or new_id()
        found = decided(model.manifest, outputs, late)
        by_digest = model.manifest.on_request
        content = {
            **self._common(model, context),
            "inputs": [described_part(n, a, content=False) for n, a in inputs.items()],
            "outputs": [
                described_part(n, a, content=n not in by_digest) for n, a in outputs.items()
            ],
            "decision": found.decision,
            "reproducibility": "bit-exact",
            **({} if late is None else {"deadline": late.recorded()}),
        }
        columns = {**_columns(model, context), "decision": found.found_by, "score": found.score}
        payloads = tuple(Payload(n, NPY, encode_array(a)) for n, a in inputs.items())
        record = build_prepared(
            "prediction", record_id, context.started_at, content, columns, payloads
        )
        return record_id, self._writer.submit(record)

    def explanation(
        self,
        model: RecordedModel,
        explains: StoredRecord,
        row: int,
        subject: Mapping[str, NDArray[Any]],
        asked: Mapping[str, Any],
        explanation: ImageExplanation | FeatureExplanation,
        evidence: Sequence[NativeEvidence],
        started_at: datetime,
    ) -> str:
        """Record an explanation of a recorded prediction; returns its id once it is durable.

        Args:
            model: that made the prediction.
            explains: the prediction's record.
            row: which row of it.
            subject: what was explained, by name: the picture, row, text or window.
            asked: the request's parameters: with them it can be explained again.
            explanation: of it.
            evidence: what the model itself shows.
            started_at: when its making began.

        Raises:
            Unavailable: it could not be made durable.
            Overloaded: too many records wait.
        """
        record_id = new_id()
        about = orjson.loads(explains.body)
        context = RequestContext(
            about["request_id"], about["caller"], about["trace_id"], started_at
        )
        said = {**explanation.to_json(), "evidence": [one.to_json() for one in evidence]}
        content = {
            **self._common(model, context),
            "explains": explains.id,
            "row": row,
            "inputs": [described(n, a, content=False) for n, a in subject.items()],
            "method": {
                "name": said["method"],
                "modality": said["modality"],
                "asked": dict(asked),
                "parameters": said["parameters"],
                "seed": said["seed"],
                "samples_used": said["samples_used"],
                "stop_reason": said["stop_reason"],
                "corrections": said["corrections"],
                "digests": said["digests"],
            },
            "explanations": said["explanations"],
            "evidence": said["evidence"],
            "quality": said["quality"],
            "timings": said["timings"],
            "reproducibility": "bit-exact",
        }
        first = explanation.of()
        columns = {
            **_columns(model, context),
            "decision": first.name[:256],
            "score": float(first.score),
            "parent_id": explains.id,
        }
        arrays = {
            **subject,
            **explanation.arrays(),
            **{one.payload: one.values for one in evidence},
        }
        payloads = [Payload(n, NPY, encode_array(a)) for n, a in arrays.items()]
        payloads.append(Payload("explanation", JSON, orjson.dumps(said)))
        record = build("explanation", record_id, started_at, content, columns, tuple(payloads))
        self._writer.append(record).result()
        return record_id

    def model_load(self, model: RecordedModel, seconds: float) -> None:
        """Record that a model version was verified and loaded; written with what comes next."""
        context = RequestContext(request_id="start", caller=self._name)
        content = {**self._common(model, context), "load_seconds": seconds}
        columns = {"model": model.manifest.name, "version": model.manifest.version}
        record = build("model-load", new_id(), context.started_at, content, columns)
        self._writer.append(record)

    def model_refused(self, name: str, version: str, reason: str) -> None:
        """Record that a model version was refused, and why."""
        moment = datetime.now(UTC)
        content = {
            "started_at": timestamp(moment),
            "service": self._service,
            "model": {"name": name, "version": version},
            "reason": reason,
        }
        columns = {"model": name, "version": version}
        self._writer.append(build("failure", new_id(), moment, content, columns))

    def about(
        self, kind: str, record: StoredRecord, caller: str, content: Mapping[str, Any]
    ) -> str:
        """Record what was done with another record; returns its id once it is durable.

        Args:
            kind: review, override, correction, replay, read, erasure.
            record: the other one.
            caller: who did it.
            content: JSON values of this kind.

        Raises:
            Unavailable: it could not be made durable.
            Overloaded: too many records wait.
        """
        moment, record_id = datetime.now(UTC), new_id()
        body = orjson.loads(record.body)
        named = body.get("model") or {}
        said = {
            "started_at": timestamp(moment),
            "caller": caller,
            "service": self._service,
            "about": {"id": record.id, "kind": record.kind, "sha256": record.sha256},
            **content,
        }
        columns = {
            "model": named.get("name"),
            "version": named.get("version"),
            "decision": content.get("decision"),
            "caller": caller[:256],
            "parent_id": record.id,
        }
        self._writer.append(build(kind, record_id, moment, said, columns)).result()
        return record_id

    def _common(self, model: RecordedModel, context: RequestContext) -> dict[str, Any]:
        return {
            "request_id": context.request_id,
            "trace_id": context.trace_id,
            "caller": context.caller,
            "started_at": timestamp(context.started_at),
            "ended_at": timestamp(datetime.now(UTC)),
            "service": self._service,
            "model": model.identity,
            "environment": model.environment,
        }


def _columns(model: RecordedModel, context: RequestContext) -> dict[str, Any]:
    return {
        "model": model.manifest.name,
        "version": model.manifest.version,
        "caller": context.caller[:256],
        "request_id": context.request_id,
    }
