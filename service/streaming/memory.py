"""All streams of a process in memory, how they come back after a crash, and when each is saved."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Final

import numpy as np

from service import stream_metrics
from service.anomaly.alarms import Event
from service.anomaly.floods import WINDOW, FloodWatch
from service.anomaly.reconfigure import reconfigure
from service.anomaly.snapshots import restore, snapshot
from service.anomaly.stream import Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.errors import GlasslineError, Unavailable, UnknownStream
from service.streaming.journal import Entry, RowsEntry, unpacked
from service.streaming.store import StreamStore, Turn

#: Rows that the journal may hold beyond the oldest snapshot: what a restart has to go through.
TAIL_ROWS: Final = 100_000
#: Streams that one turn may save: each takes some hundred microseconds from everybody.
SAVED_A_TURN: Final = 8
#: Finds what a stream must know of a model version; raises what the store raises.
Subjects = Callable[[str, str], Subject]
_log = logging.getLogger("glassline.streams")


class Memory:
    """Streams by key.

    Args:
        store: where they are durable.
        subjects: see `Subjects`.
    """

    def __init__(self, store: StreamStore, subjects: Subjects) -> None:
        self._store = store
        self._subjects = subjects
        self.streams: dict[StreamKey, Stream] = {}
        #: streams that stand in the store and could not be brought back, with the reason
        self.broken: dict[StreamKey, str] = {}
        self.floods: dict[str, FloodWatch] = {}
        self.place = 0
        #: by key, the first place that its snapshot does not hold, the oldest first
        self._dirty: OrderedDict[StreamKey, int] = OrderedDict()
        self._tail: deque[tuple[int, int]] = deque()
        self._tail_rows = 0

    def recover(self) -> None:
        """Bring everything back as it was when the last turn became durable.

        Raises:
            Unavailable: the store does not answer.
        """
        self.streams, self.broken, self._dirty = {}, {}, OrderedDict()
        self._tail.clear()
        self._tail_rows = 0
        self.place = self._store.place()
        places: dict[StreamKey, int] = {}
        for key, place, content in self._store.snapshots():
            places[key] = place
            if content is not None:
                self._guarded(key, lambda k=key, c=content: self._put(k, c))  # type: ignore[misc]
        for place, entries in self._store.journal():
            rows = 0
            for entry in unpacked(entries):
                if place > places.get(entry.key, 0):
                    self._guarded(entry.key, lambda e=entry: self._apply(e))  # type: ignore[misc]
                    self._dirty.setdefault(entry.key, place)
                rows += len(entry.times) if isinstance(entry, RowsEntry) else 1
            self._tail.append((place, rows))
            self._tail_rows += rows
        self.floods = {
            line: FloodWatch(tuple(raised), flooded)
            for line, (raised, flooded) in self._store.recent_alarms(WINDOW).items()
        }

        self.tell_metrics()

    def tell_metrics(self) -> None:
        """Count streams in alarm and lines with a flood anew; turns only add and take away."""
        active = Counter(
            key[:2]
            for key, stream in self.streams.items()
            if stream.alarm.active and not stream.alarm.standings[stream.alarm.number].historical
        )
        for model in {key[:2] for key in self.streams} | set(active):
            stream_metrics.ACTIVE.labels(*model).set(active[model])
        stream_metrics.FLOODS.set(sum(watch.flooded for watch in self.floods.values()))

    def _guarded(self, key: StreamKey, do: Callable[[], None]) -> None:
        """One stream that cannot be brought back does not keep the others down."""
        if key in self.broken:
            return
        try:
            do()
        except GlasslineError as error:
            _log.error("stream %s of %s@%s: %s", key.stream, key.model, key.version, error)
            self.broken[key] = str(error)
            self.streams.pop(key, None)

    def _apply(self, entry: Entry) -> None:
        key = entry.key
        if isinstance(entry, RowsEntry):
            stream = self.streams[key]
            staged = stream.stage(
                entry.times.tolist(), entry.values.astype(np.float32), entry.historical
            )
            stream.conclude(staged, entry.scores, entry.shares)
        elif entry.what == "begin":
            config = StreamConfig.model_validate(entry.said)
            self.streams[key] = Stream.begin(key, self._subjects(*key[:2]), config)
        elif entry.what == "settings":
            reconfigure(self.streams[key], StreamConfig.model_validate(entry.said))
        elif entry.what == "put":
            self._put(key, entry.content)
        elif entry.what == "act":
            self.streams[key].act(**entry.said)
        elif entry.what == "feedback":
            self.streams[key].say(**entry.said)
        elif entry.what == "rebase":
            self.streams[key].rebase(**entry.said)
        elif entry.what == "forget":
            self.streams.pop(key, None)

    def _put(self, key: StreamKey, content: bytes) -> None:
        self.streams[key] = restore(content, self._subjects(*key[:2]))

    def find(self, key: StreamKey) -> Stream | None:
        """The stream, if it has begun.

        Raises:
            Unavailable: it is there, and could not be brought back.
        """
        if key in self.broken:
            raise Unavailable(
                f"stream '{key.stream}' of {key.model}@{key.version} could not be brought back: "
                f"{self.broken[key]} DELETE it to begin anew."
            )
        return self.streams.get(key)

    def get(self, key: StreamKey) -> Stream:
        """The stream.

        Raises:
            UnknownStream: it has not begun.
            Unavailable: see `find`.
        """
        stream = self.find(key)
        if stream is None:
            raise UnknownStream(
                f"stream '{key.stream}' of {key.model}@{key.version}: no row has come. POST one."
            )
        return stream

    def versions(self, model: str, stream: str) -> list[StreamKey]:
        """Keys of a stream over all versions of a model, the newest version last."""
        return sorted(
            (key for key in (*self.streams, *self.broken) if (key.model, key.stream)
             == (model, stream)),
            key=lambda key: int(key.version),
        )  # fmt: skip

    def flood(self, line: str, event: Event) -> bool | None:
        """A live alarm was raised on a line; see `FloodWatch.note`."""
        return self.floods.setdefault(line, FloodWatch()).note(event.time)

    def close_turn(self, turn: Turn, touched: dict[StreamKey, int], *, everything: bool) -> None:
        """Add to a turn what is to be saved with it.

        Args:
            turn: whose entries are complete.
            touched: rows that it brought, by stream.
            everything: save all that changed since it was saved, for the process ends.
        """
        for key in touched:
            self._dirty.setdefault(key, turn.place)
        rows = sum(touched.values())
        self._tail.append((turn.place, rows))
        self._tail_rows += rows
        saved = 0
        while self._dirty and (
            everything or (self._tail_rows > TAIL_ROWS and saved < SAVED_A_TURN)
        ):
            key, _ = self._dirty.popitem(last=False)
            if key in self.broken:
                continue
            stream = self.streams.get(key)
            turn.snapshots.append((key, None if stream is None else snapshot(stream)))
            saved += 1
            self._shorten(turn)

    def _shorten(self, turn: Turn) -> None:
        turn.needed_from = next(iter(self._dirty.values()), turn.place + 1)
        while self._tail and self._tail[0][0] < turn.needed_from:
            self._tail_rows -= self._tail.popleft()[1]
