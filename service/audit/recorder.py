"""What happened, put into records: the constant parts once, the rest per event."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import logging
import math
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from numpy.typing import NDArray

from service import __version__
from service.audit.arrays import described, described_part, encode_array
from service.audit.canonical import Part, canonical_part
from service.audit.channel import RecordChannel
from service.audit.log_writer import LogWriter
from service.audit.record import Payload, build, build_prepared, new_id, timestamp
from service.audit.sequencer import socket_path
from service.audit.store import RecordStore, StoredRecord
from service.audit.writer import RecordWriter
from service.manifest import Manifest
from service.settings import Settings

if TYPE_CHECKING:
    from service.explain.evidence import NativeEvidence
    from service.explain.explanation import ImageExplanation
    from service.explain.feature_explanation import FeatureExplanation

#: Unix sockets have paths of 104 bytes or more, the closing NUL counted.
LONGEST_SOCKET = 103
#: Makes records durable: `submit` from an event loop, `append` from any thread.
Writer = RecordChannel | RecordWriter
_log = logging.getLogger("glassline.records")

NPY = "application/x-npy"
JSON = "application/json"


@dataclass(slots=True)
class RequestContext:
    """Who asked, and under which ids; it goes into the record."""

    request_id: str
    caller: str
    trace_id: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """What a record says of the model and of what it ran on."""

    manifest: Manifest
    #: the record's `model` field
    identity: Part
    #: the record's `environment` field
    environment: Part

    @classmethod
    def of(
        cls, manifest: Manifest, runtime_version: str, provider: str, threads: int
    ) -> RecordedModel:
        """The parts that are the same for every answer of a loaded model."""
        identity = {
            "name": manifest.name,
            "version": manifest.version,
            "manifest_sha256": manifest.digest,
            "card_sha256": hashlib.sha256(manifest.card.encode()).hexdigest(),
            "graphs": {role: graph.sha256 for role, graph in manifest.graphs.items()},
        }
        runtime = {
            "version": runtime_version,
            "provider": provider,
            "threads": threads,
            "graph_optimisation": "all",
        }
        environment = {**_environment(), "onnxruntime": runtime}
        return cls(manifest, canonical_part(identity), canonical_part(environment))


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
    ) -> tuple[str, asyncio.Future[None]]:
        """Record a prediction; returns its id, and a future that is done once it is durable.

        Nobody may be told before: the future raises Unavailable where it could not be.

        Raises:
            Unavailable: the writer is closed.
            Overloaded: too many records wait.
        """
        record_id = record_id or new_id()
        labels = _decided(model.manifest, outputs)
        confidence = [float(value) for value in outputs.get("confidence", ())]
        decision = {"labels": labels, "confidence": confidence, "threshold": None}
        content = {
            **self._common(model, context),
            "inputs": [described_part(n, a, content=False) for n, a in inputs.items()],
            "outputs": [described_part(n, a, content=True) for n, a in outputs.items()],
            "decision": canonical_part(decision),
            "reproducibility": "bit-exact",
        }
        columns = {
            **_columns(model, context),
            "decision": labels[0][:256] if labels else None,
            "score": confidence[0] if confidence else _first_value(model.manifest, outputs),
        }
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


def _decided(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    """What was decided of each row: its label, or the best translation of its text."""
    if manifest.task == "translate":
        return [str(text) for text in outputs["text"][:, 0]]
    return [str(label) for label in outputs.get("label", ())]


def _first_value(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> float | None:
    """What records are found by: a regression's value, the score of a translation; else None."""
    if manifest.task in ("classify", "generate"):  # a pixel is found by nobody
        return None
    name = "score" if manifest.task == "translate" else manifest.outputs[0].name
    value = float(outputs[name].flat[0])
    return value if math.isfinite(value) else None


def _columns(model: RecordedModel, context: RequestContext) -> dict[str, Any]:
    return {
        "model": model.manifest.name,
        "version": model.manifest.version,
        "caller": context.caller[:256],
        "request_id": context.request_id,
    }


def open_records(settings: Settings, *, starts: bool = True) -> tuple[RecordStore, Writer]:
    """The record store and the way to write to it, as the settings say.

    Args:
        settings: where the store is.
        starts: whether this process may start the one that writes; see `RecordChannel`.

    Raises:
        Unavailable: the database cannot be opened.
        StoreError: it was written by a newer Glassline.
    """
    store = RecordStore(settings.database)
    path = socket_path(settings)
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        _log.warning(
            "%s is too long for a socket: every process writes records itself, which is slower. "
            "Choose a shorter GLASSLINE_HOME.",
            path,
        )
        return store, RecordWriter(LogWriter.of(settings))
    return store, RecordChannel(path, settings.environment(), starts=starts)


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    """What the bits of an answer may hang on besides the model: versions and processor."""
    installed = sorted(
        f"{d.metadata['Name'].lower()}=={d.version}" for d in importlib.metadata.distributions()
    )
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "packages_sha256": hashlib.sha256("\n".join(installed).encode()).hexdigest(),
    }


def _processor() -> dict[str, Any]:
    """Model name and instruction sets, where the operating system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {"name": platform.processor(), "instruction_sets": []}
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    vector = [f for f in flags if f.startswith(("sse", "avx", "fma", "amx", "neon", "asimd"))]
    return {"name": facts.get("model name", ""), "instruction_sets": sorted(vector)}
