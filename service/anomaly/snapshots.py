"""A stream as bytes, and back, bit for bit: it goes on elsewhere as if nothing had happened."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import orjson

from service.anomaly.adaptive import AdaptiveConformal
from service.anomaly.alarms import Alarm
from service.anomaly.drift import Drift
from service.anomaly.feedback import Feedback
from service.anomaly.levels import Levels
from service.anomaly.purse import Purse
from service.anomaly.stream import Counts, Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.anomaly.track import Track
from service.errors import CorruptStream

_MAGIC: Final = b"glassline.stream/3\n"
#: bytes of the head, of times, of values, of the judge, of drift
_SIZES: Final = struct.Struct("<IIIII")


def snapshot(stream: Stream) -> bytes:
    """All of a stream but what follows from its model.

    Returns:
        A digest of the rest; sizes; a head in JSON; times, values, judge and drift as they are.
    """
    track, levels = stream.track, stream.levels
    times, values, outcomes = track.kept()
    head = orjson.dumps(
        {
            "key": list(stream.key),  # orjson knows no named tuples
            "sensors": stream.subject.sensors,
            "config": stream.config.model_dump(mode="json"),
            "track": [track.steps, track.period, track.gap, track.run],
            "outcomes": outcomes,
            "levels": levels.to_json(),
            "alarm": stream.alarm.to_json(),
            "counts": asdict(stream.counts),
            "in_history": stream.in_history,
            "feedback": stream.feedback.to_json(),
        }
    )
    judge = levels.judge.state() if levels.judge else b""
    drift = stream.drift.state() if stream.drift else b""
    parts = (head, times, values, judge, drift)
    rest = b"".join((_SIZES.pack(*map(len, parts)), *parts))
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def key_of(content: bytes) -> StreamKey:
    """Which stream a snapshot is of.

    Raises:
        CorruptStream: it is none, or damaged.
    """
    return StreamKey(*_parts(content)[0]["key"])


def restore(content: bytes, subject: Subject) -> Stream:
    """The stream that a snapshot was taken of.

    Args:
        content: from `snapshot`.
        subject: of its model, the same as then.

    Raises:
        CorruptStream: it is no snapshot, is damaged, or is of a model with other sensors.
    """
    head, times, values, judge, drift = _parts(content)
    key = StreamKey(*head["key"])
    steps, period, gap, run = head["track"]
    if tuple(head["sensors"]) != subject.sensors or steps != subject.steps:
        raise CorruptStream(
            f"stream '{key.stream}': its state is of windows of {steps} rows of "
            f"{head['sensors']}, but {key.model}@{key.version} takes {subject.steps} of "
            f"{list(subject.sensors)}. Move it to the very model version that it is of."
        )
    table = np.frombuffer(values, "<f4").astype(np.float32).reshape(-1, len(subject.sensors))
    track = Track(
        steps, period, gap, np.frombuffer(times, "<i8").tolist(), table,
        [tuple(one) for one in head["outcomes"]], run,
    )  # fmt: skip
    levels = Levels(**{**head["levels"], "purse": Purse.of_json(head["levels"]["purse"])})
    levels.judge = AdaptiveConformal.restore(judge) if judge else None
    return Stream(
        key, subject, StreamConfig.model_validate(head["config"]), track, levels,
        Alarm.of_json(head["alarm"]), Counts(**head["counts"]), head["in_history"],
        Feedback.of_json(head["feedback"]), Drift.restore(drift) if drift else None,
    )  # fmt: skip


def _parts(content: bytes) -> tuple[dict[str, Any], bytes, bytes, bytes, bytes]:
    start = len(_MAGIC) + 32
    rest = content[start:]
    sound = content.startswith(_MAGIC) and len(rest) >= _SIZES.size
    if not sound or hashlib.sha256(rest).digest() != content[len(_MAGIC) : start]:
        raise CorruptStream(
            "state of a stream: not what this version saved, or damaged. Export it again."
        )
    sizes = _SIZES.unpack_from(rest)
    at, parts = _SIZES.size, []
    for size in sizes:
        parts.append(rest[at : at + size])
        at += size
    head, times, values, judge, drift = parts
    return orjson.loads(head), times, values, judge, drift
