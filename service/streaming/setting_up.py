"""Settings of a stream, as one turn makes them durable and has them recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.anomaly.reconfigure import changes, reconfigure
from service.anomaly.stream import Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.errors import InvalidParameter
from service.streaming.description import described
from service.streaming.journal import ActEntry
from service.streaming.turns import TurnWork


def parsed(values: Any, stream: str, sensors: Sequence[str]) -> StreamConfig:
    """Settings of a stream of these sensors.

    Raises:
        InvalidParameter: one is unknown or out of range.
    """
    config = StreamConfig.parse(values, f"stream '{stream}'")
    if unknown := config.ranges.keys() - set(sensors):
        raise InvalidParameter(
            f"stream '{stream}': ranges: {', '.join(sorted(unknown))}: no such sensor; there are "
            f"{', '.join(sensors)}."
        )
    return config


def set_up(
    work: TurnWork, key: StreamKey, subject: Subject, config: StreamConfig, caller: str
) -> dict[str, Any]:
    """A stream begins with these settings; one that has rows gets them, and nothing of the old.

    Raises:
        Conflict: its calibration does not allow that.
    """
    stream = work.memory.find(key)
    if stream is not None:
        return _changed(work, stream, config, caller)
    work.begin(ActEntry(key, "begin", config.model_dump(mode="json")), subject)
    return described(work.memory.streams[key])


def change(work: TurnWork, key: StreamKey, values: Any, caller: str) -> dict[str, Any]:
    """A stream that has begun gets some other settings.

    Args:
        work: of the turn.
        key: of the stream.
        values: by setting; the others stay.
        caller: whose API key it was.

    Raises:
        UnknownStream: it has not begun.
        InvalidParameter, Conflict: see `parsed`, `set_up`.
    """
    stream = work.memory.get(key)
    if isinstance(values, dict):
        values = stream.config.model_dump() | values
    return _changed(work, stream, parsed(values, key.stream, stream.subject.sensors), caller)


def _changed(work: TurnWork, stream: Stream, config: StreamConfig, caller: str) -> dict[str, Any]:
    key, dumped = stream.key, config.model_dump(mode="json")
    if not stream.counts.rows:  # nothing is learnt yet that a setting could not fit
        changed = changes(stream.config, config)
        work.begin(ActEntry(key, "begin", dumped), stream.subject)
        return described(work.memory.streams[key]) | {"changed": changed}
    if changed := reconfigure(stream, config):
        work.write(ActEntry(key, "settings", dumped))
        said = {
            "model": key.model, "version": key.version, "stream": key.stream, "by": caller,
            "rows": stream.counts.rows, "settings": changed,
        }  # fmt: skip
        work.owe("settings", said)
    return described(stream) | {"changed": changed}
