"""What the engine is asked for, one request a line of its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.anomaly.stream import Staged, Stream, StreamKey
from service.anomaly.stream_config import StreamConfig
from service.protocol.stream_rows import Rows
from service.streaming.scoring import Scorer


@dataclass(slots=True)
class Taken:
    """What became of the rows of one stream."""

    answers: list[dict[str, Any]]
    #: alarm events as they stand in the alarm log
    alarms: list[dict[str, Any]]
    accepted: int
    duplicates: int
    late: int
    #: time of the newest row of the stream, microseconds since 1970
    newest: int


@dataclass(slots=True)
class RowsRequest:
    """Rows of one or more streams of one model: all of them are taken in, or none."""

    scorer: Scorer
    rows: dict[StreamKey, Rows]
    historical: bool
    #: settings of a stream that begins by it
    config: StreamConfig
    done: asyncio.Future[dict[StreamKey, Taken]]
    staged: list[tuple[Stream, Staged]] = field(default_factory=list)
    begun: list[Stream] = field(default_factory=list)

    def undo(self) -> None:
        """Forget what was made of it in a turn that failed."""
        self.staged.clear()
        self.begun.clear()

    @property
    def keys(self) -> set[StreamKey]:
        """Streams that it is about."""
        return set(self.rows)

    @property
    def size(self) -> int:
        """Rows in it."""
        return sum(len(one.times) for one in self.rows.values())


@dataclass(slots=True)
class ActRequest:
    """Anything else, done between rows: a function of the turn's work, and its answer."""

    key: StreamKey
    do: Callable[[Any], Any]
    done: asyncio.Future[Any]

    def undo(self) -> None:
        """Nothing was made of it."""

    @property
    def keys(self) -> set[StreamKey]:
        """The stream that it is about."""
        return {self.key}

    @property
    def size(self) -> int:
        """As much as a row."""
        return 1


Request = RowsRequest | ActRequest
