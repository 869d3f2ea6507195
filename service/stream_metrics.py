"""Metrics of streams and alarms."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from service.metrics_setup import MODEL, PREDICT_BUCKETS

ROWS = Counter(
    "glassline_stream_rows",
    "Rows of streams by what became of them: accepted, duplicate, late.",
    (*MODEL, "outcome"),
)
STREAMS = Gauge(
    "glassline_streams", "Streams in memory of the process that owns them.",
    multiprocess_mode="livesum",
)  # fmt: skip
TURN = Histogram(
    "glassline_stream_turn_seconds",
    "Seconds from the start of a turn of streams until its rows were durable.",
    buckets=PREDICT_BUCKETS,
)
EVENTS = Counter("glassline_alarm_events", "Live alarm events by what changed.", (*MODEL, "change"))
ACTIVE = Gauge("glassline_alarms_active", "Streams in alarm.", MODEL, multiprocess_mode="livesum")
FLOODS = Gauge(
    "glassline_alarm_floods",
    "Lines with a flood of alarms (ISA-18.2: more than 10 in 10 minutes).",
    multiprocess_mode="livesum",
)  # fmt: skip
FEEDBACK = Counter(
    "glassline_alarm_feedback",
    "Alarms that somebody has called true or false; the precision is the share of the true ones.",
    (*MODEL, "verdict"),
)
UNEXPLAINED = Counter(
    "glassline_alarms_unexplained",
    "Alarms for which no explanation was asked for: flood, queue full, no explainer.",
    ("reason",),
)

ALL = (ROWS, STREAMS, TURN, EVENTS, ACTIVE, FLOODS, FEEDBACK, UNEXPLAINED)
