"""Every Prometheus metric of Glassline, and their exposition over all processes.

Where several processes keep their values in files (see `metrics_setup`), `exposition` sums them up.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from service import metrics_files, stream_metrics, tally, tracing
from service.metrics_setup import DIRECTORY as _DIRECTORY
from service.metrics_setup import EXPLAIN_BUCKETS, PREDICT_BUCKETS
from service.metrics_setup import MODEL as _MODEL
from service.tally import observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.samples import Sample

#: The text format that every scraper reads; our names need nothing that is newer.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUEST_DURATION = Histogram(
    "http_server_request_duration_seconds",
    "Seconds from the first byte of a request to the last of its answer.",
    ("method", "route", "status", *_MODEL),
    buckets=PREDICT_BUCKETS + (30.0, 60.0, 120.0),
)
PREPROCESS = Histogram(
    "request_preprocess_seconds",
    "Seconds to decode and validate a request body.",
    _MODEL,
    buckets=PREDICT_BUCKETS,
)
PREDICT = Histogram(
    "request_predict_seconds", "Seconds in the model's graph.", _MODEL, buckets=PREDICT_BUCKETS
)
QUEUE = Histogram(
    "request_queue_seconds",
    "Seconds that a request waited for its model, its own run not counted.",
    _MODEL,
    buckets=PREDICT_BUCKETS,
)
POSTPROCESS = Histogram(
    "request_postprocess_seconds",
    "Seconds to encode an answer.",
    _MODEL,
    buckets=PREDICT_BUCKETS,
)
EXPLAIN = Histogram(
    "request_explain_seconds", "Seconds to explain a prediction.", _MODEL, buckets=EXPLAIN_BUCKETS
)
BATCH_ROWS = Histogram(
    "glassline_batch_rows",
    "Rows in one run of a graph.",
    _MODEL,
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
)
EXPLANATION_SAMPLES = Histogram(
    "glassline_explanation_samples",
    "Perturbed samples predicted for an explanation.",
    _MODEL,
    buckets=(50, 100, 250, 500, 1000, 2500, 5000, 10000, 20000),
)
EXPLANATION_R2 = Histogram(
    "glassline_explanation_r2",
    "Weighted R² of the surrogate of an explanation.",
    _MODEL,
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
EXPLANATIONS = Counter(
    "glassline_explanations",
    "Explanations by outcome: done, or the class of the error.",
    ("outcome",),
)
EXPLANATIONS_WAITING = Gauge(
    "glassline_explanations_waiting",
    "Requests that wait for an explanation or its rendering.",
    multiprocess_mode="livesum",
)
LAST_INFERENCE = Gauge(
    "glassline_last_inference_timestamp_seconds",
    "When a model last answered, in seconds since 1970.",
    _MODEL,
    multiprocess_mode="max",
)
REQUESTS_WAITING = Gauge(
    "glassline_requests_waiting",
    "Requests in the queues of slow graphs.",
    _MODEL,
    multiprocess_mode="livesum",
)
REQUESTS_REFUSED = Counter(
    "glassline_requests_refused",
    "Requests refused, by the class of the error.",
    ("reason",),
)
MODEL_LOAD = Histogram(
    "glassline_model_load_seconds",
    "Seconds to verify, load and warm up a model.",
    _MODEL,
    buckets=EXPLAIN_BUCKETS,
)
MODEL_PROVIDER = Gauge(
    "glassline_model_provider",
    "1 for the ONNX Runtime execution provider a served model runs on.",
    (*_MODEL, "provider"),
    multiprocess_mode="livemax",
)
DEVICE_FALLBACKS = Counter(
    "glassline_device_fallbacks", "Loads onto the CPU where a GPU was to be expected.", _MODEL
)
AUDIT_APPEND = Histogram(
    "glassline_audit_append_seconds", "Seconds from handing in a record until it is durable.",
    ("kind",), buckets=PREDICT_BUCKETS,
)  # fmt: skip
AUDIT_GROUP = Histogram(
    "glassline_audit_group_records", "Records made durable by one commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)  # fmt: skip
AUDIT_MISSED = Counter(
    "glassline_audit_missed", "Answers without a record: GLASSLINE_RECORD_FAILURE is open.", _MODEL
)
VERDICTS = Counter(
    "glassline_verdicts", "Rows that a detector judged, by its verdict.", (*_MODEL, "verdict")
)
SAFE_DEFAULTS = Counter(
    "glassline_safe_defaults",
    "States in which a policy took its safe default, for they were unlike training's.",
    _MODEL,
)
DEADLINES = Counter(
    "glassline_deadlines_missed",
    "Answers that were not ready in a model's latency budget.",
    _MODEL,
)
P_VALUE = Histogram(
    "glassline_p_value",
    "p-values of the rows that a detector judged; even while they are as in its calibration.",
    _MODEL,
    buckets=(0.0001, 0.001, 0.01, 0.05, *(share / 10 for share in range(1, 10)), 1.0),
)
SCORE_OVER_THRESHOLD = Histogram(
    "glassline_score_over_threshold_ratio",
    "Scores of the rows that a detector judged, over its threshold; above 1 = an anomaly.",
    _MODEL,
    buckets=(0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0),
)

_ALL = (
    REQUEST_DURATION, PREPROCESS, QUEUE, PREDICT, POSTPROCESS, EXPLAIN, BATCH_ROWS,
    LAST_INFERENCE, REQUESTS_WAITING, REQUESTS_REFUSED, EXPLANATION_SAMPLES,
    EXPLANATION_R2, EXPLANATIONS, EXPLANATIONS_WAITING, MODEL_LOAD, MODEL_PROVIDER,
    DEVICE_FALLBACKS, AUDIT_APPEND, AUDIT_GROUP, AUDIT_MISSED, VERDICTS, SAFE_DEFAULTS,
    DEADLINES, P_VALUE, SCORE_OVER_THRESHOLD, *stream_metrics.ALL,
)  # fmt: skip


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_durations: dict[tuple[str, str, int, tuple[str, str] | None], Callable[[float], None]] = {}


def observe_request(
    method: str, route: str, status: int, seconds: float, model: tuple[str, str] | None
) -> None:
    """One HTTP request is over.

    Args:
        method: HTTP method; an unheard-of one counts as "-".
        route: route template, never a path with values in it.
        status: HTTP status; 499 when the client left.
        seconds: its duration.
        model: name and version when the route has a known one.
    """
    key = (method if method in _METHODS else "-", route, status, model)
    duration = _durations.get(key)
    if duration is None:
        name, version = model or ("-", "-")
        child = REQUEST_DURATION.labels(key[0], route, str(status), name, version)
        duration = _durations[key] = observer(child)
    duration(seconds)
    if tracing.tracer is not None:
        tracing.end(method, route, status, model)


@cache
def audit_append(kind: str) -> Callable[[float], None]:
    """Takes the seconds from handing in a record of this kind until it was durable."""
    return observer(AUDIT_APPEND.labels(kind))


@cache
def audit_group() -> Callable[[float], None]:
    """Takes the records that one commit made durable."""
    return observer(AUDIT_GROUP)


def exposition() -> tuple[bytes, str]:
    """All metrics of all processes, and their media type."""
    with _merged() as registry:
        return generate_latest(registry), CONTENT_TYPE


def samples() -> list[Sample]:
    """Every sample of all processes, buckets included."""
    with _merged() as registry:
        return [sample for family in registry.collect() for sample in family.samples]


@contextmanager
def _merged() -> Iterator[CollectorRegistry]:
    tally.flush()
    if _DIRECTORY is None:
        yield REGISTRY
        return
    with metrics_files.steady(_DIRECTORY):
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(_DIRECTORY))  # type: ignore[no-untyped-call]
        yield registry


def documented() -> list[tuple[str, str, str]]:
    """(name, type, help) of every metric, as Prometheus shows it."""
    rows = []
    for metric in _ALL:
        (family, *_) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((name, family.type, family.documentation))
    return rows
