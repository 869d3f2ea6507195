"""One turn: what waits is staged, scored together, judged, and written down as one transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from service import stream_metrics
from service.anomaly.alarms import Event
from service.anomaly.stream import Staged, Stream, StreamKey, Subject
from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import rfc3339
from service.audit.record import new_id
from service.errors import GlasslineError, StreamRefused
from service.streaming.journal import ActEntry, RowsEntry, packed
from service.streaming.memory import Memory
from service.streaming.requests import ActRequest, Request, RowsRequest, Taken
from service.streaming.scoring import Scorer
from service.streaming.store import AlarmLine, Owed, Turn

#: Graphs that take longer for all windows of a turn run in a thread.
INLINE_SECONDS: Final = 0.001
Scored = tuple[NDArray[np.float32], NDArray[np.float32] | None]
_log = logging.getLogger("glassline.streams")


class TurnWork:
    """The work on one turn.

    Args:
        memory: all streams.
        place: of the turn in the journal.
    """

    def __init__(self, memory: Memory, place: int) -> None:
        self.memory = memory
        self.turn = Turn(place)
        self.touched: dict[StreamKey, int] = {}
        self._entries: list[bytes] = []
        self._since = time.perf_counter()
        #: rows by model, version and what became of them
        self._outcomes: Counter[tuple[str, str, str]] = Counter()
        #: futures and what they are told once the turn is durable
        self.replies: list[tuple[asyncio.Future[Any], Any]] = []

    async def do(self, requests: Sequence[Request]) -> None:
        """Do what was asked for; who is at fault is told at once, the others when it is durable."""
        rows = [one for one in requests if isinstance(one, RowsRequest)]
        for one in rows:
            _guarded(one, partial(self._stage, one))
        rows = [one for one in rows if not one.done.done()]
        scored = await self._scored(rows)
        for one in rows:
            if not one.done.done() or one.done.cancelled():
                self._conclude(one, scored)
        for request in requests:
            if isinstance(request, ActRequest) and not request.done.done():
                _guarded(request, partial(self._act, request))
        self.turn.entries = b"".join(self._entries)

    def _act(self, request: ActRequest) -> None:
        self.replies.append((request.done, request.do(self)))

    def _stage(self, request: RowsRequest) -> None:
        for key, rows in request.rows.items():
            stream = self.memory.find(key)
            if stream is None:
                stream = Stream.begin(key, request.scorer.subject, request.config)
                request.begun.append(stream)
            where = f"stream '{key.stream}'"
            request.scorer.check_range(rows.values, stream.config.ranges, where)
            request.staged.append(
                (stream, stream.stage(rows.times, rows.values, request.historical))
            )

    async def _scored(self, requests: Sequence[RowsRequest]) -> dict[int, Scored]:
        """Scores and shares by the identity of what was staged."""
        by_scorer: dict[int, list[RowsRequest]] = {}
        for request in requests:
            by_scorer.setdefault(id(request.scorer), []).append(request)
        scored: dict[int, Scored] = {}
        for together in by_scorer.values():
            try:
                scored.update(await _score(together[0].scorer, together))
            except Exception:  # somebody is at fault: alone, so that nobody pays for a neighbour
                for request in together:
                    try:
                        scored.update(await _score(request.scorer, [request]))
                    except GlasslineError as error:
                        request.done.set_exception(error)
                    except Exception:
                        _log.exception(
                            "streams: %s failed", request.scorer.model.manifest.reference
                        )
                        request.done.set_exception(
                            StreamRefused("the model fails on these rows; see the server's log.")
                        )
        return scored

    def _conclude(self, request: RowsRequest, scored: dict[int, Scored]) -> None:
        for stream in request.begun:
            self.memory.streams[stream.key] = stream
            self.write(ActEntry(stream.key, "begin", stream.config.model_dump(mode="json")))
        taken: dict[StreamKey, Taken] = {}
        accepted = repeats = late = 0
        for stream, staged in request.staged:
            scores, shares = scored[id(staged)]
            answers, events = stream.conclude(staged, scores, shares)
            lines = [self.announce(stream, event, staged) for event in events]
            watch = self.memory.floods.get(stream.key.line)
            if watch is not None and watch.flooded and not staged.historical:
                newest = max(staged.times)
                if watch.look(newest) is False:
                    self._flood(stream.key, newest, begins=False)
            repeated = staged.duplicates + staged.late
            fresh = len(staged.times) - repeated
            taken[stream.key] = Taken(
                answers, lines, fresh, staged.duplicates, staged.late, stream.track.newest or 0
            )
            entry = RowsEntry(
                stream.key, np.array(staged.times, np.int64), staged.values, staged.historical,
                scores, shares,
            )  # fmt: skip
            self._entries.append(packed(entry))
            self.touched[stream.key] = self.touched.get(stream.key, 0) + len(staged.times)
            accepted, repeats, late = (
                accepted + fresh, repeats + staged.duplicates, late + staged.late
            )  # fmt: skip
        manifest = request.scorer.model.manifest
        for outcome, rows in (("accepted", accepted), ("duplicate", repeats), ("late", late)):
            self._outcomes[manifest.name, manifest.version, outcome] += rows
        self.replies.append((request.done, taken))

    def count(self, streams: int) -> None:
        """The turn is durable: tell the metrics."""
        for (model, version, outcome), rows in self._outcomes.items():
            stream_metrics.ROWS.labels(model, version, outcome).inc(rows)
        for line in self.turn.alarms:
            if line.live and not line.change.startswith("flood"):
                _, model, version, _ = line.alarm.split(":")
                stream_metrics.EVENTS.labels(model, version, line.change).inc()
                active = stream_metrics.ACTIVE.labels(model, version)
                if line.change == "raised":
                    active.inc()
                elif line.change in ("cleared", "reset"):
                    active.dec()
            elif line.live:
                step = 1 if line.change == "flood-begun" else -1
                stream_metrics.FLOODS.inc(step)
        stream_metrics.STREAMS.set(streams)
        stream_metrics.TURN.observe(time.perf_counter() - self._since)

    def write(self, entry: ActEntry) -> None:
        """Something other than rows changes a stream."""
        self._entries.append(packed(entry))
        self.touched[entry.key] = self.touched.get(entry.key, 0) + 1

    def begin(self, entry: ActEntry, subject: Subject) -> None:
        """A stream begins with these settings, or without a row begins again with others."""
        config = StreamConfig.model_validate(entry.said)
        self.memory.streams[entry.key] = Stream.begin(entry.key, subject, config)
        self.write(entry)

    def owe(self, kind: str, said: dict[str, Any], window: bytes | None = None) -> None:
        """Something is to be done once this turn is durable."""
        self.turn.owed.append(Owed(kind, orjson.dumps(said).decode(), window))

    def announce(
        self, stream: Stream, event: Event, staged: Staged | None = None
    ) -> dict[str, Any]:
        """Put an event into the alarm log; as it stands there.

        A live one that is raised and not shelved is owed a record, and but for a flood an
        explanation; if a flood begins or ends by it, that is an event too.
        """
        said = event_json(stream.key, event)
        self._log(stream.key, said, event.time, live=not event.historical)
        if event.change == "raised" and not event.historical:
            line = stream.key.line
            flood = None if event.shelved else self.memory.flood(line, event)
            if flood is not None:
                self._flood(stream.key, event.time, begins=flood)
            self._owe_record(stream, event, staged, said)
        if event.evidence is not None and not event.historical:
            self.owe("drift", {"event": said})
        return said

    def _owe_record(
        self, stream: Stream, event: Event, staged: Staged | None, said: dict[str, Any]
    ) -> None:
        assert staged is not None
        at = next(row.window for row in staged.rows if row.time == event.time and row.window >= 0)
        watch = self.memory.floods.get(stream.key.line)
        owed = {
            "event": said,
            "prediction_id": new_id(),
            "record_id": new_id(),
            "explain": not event.shelved and not (watch and watch.flooded),
        }
        self.owe("alarm", owed, staged.windows[at].tobytes())

    def _flood(self, key: StreamKey, time_: int, *, begins: bool) -> None:
        change = "flood-begun" if begins else "flood-ended"
        said = {
            "alarm": f"{key.line}:flood", "line": key.line, "change": change,
            "time": rfc3339(time_),
            "alarms_in_10_minutes": self.memory.floods[key.line].recent,
        }  # fmt: skip
        self._log(key, said, time_, live=True)

    def _log(self, key: StreamKey, said: dict[str, Any], time: int, *, live: bool) -> None:
        body = orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
        self.turn.alarms.append(
            AlarmLine(said["alarm"], key.line, said["change"], time, live, body)
        )


def event_json(key: StreamKey, event: Event) -> dict[str, Any]:
    """An event as a line of the alarm log has it: nothing in it hangs on when it was computed."""
    said: dict[str, Any] = {
        "alarm": key.alarm_id(event.number),
        "line": key.line,
        "stream": key.stream,
        "model": key.model,
        "version": key.version,
        "number": event.number,
        "change": event.change,
        "time": rfc3339(event.time),
    }
    if (reading := event.reading) is not None:
        said |= {"score": reading.score, "p_value": reading.p_value, "alpha": reading.alpha}
        if reading.contributors:
            said["contributors"] = [
                {"sensor": sensor, "share": share} for sensor, share in reading.contributors
            ]
    for name in ("historical", "shelved"):
        if getattr(event, name):
            said[name] = True
    for name in ("by", "comment"):
        if getattr(event, name) is not None:
            said[name] = getattr(event, name)
    if event.returned is not None:
        said["budget_returned"] = event.returned
    if event.until is not None:
        said["until"] = rfc3339(event.until)
    if event.change.startswith("drift"):
        # Not an alarm of the process: it has no number, and one id a stream.
        said["alarm"] = f"{key.stream}:{key.model}:{key.version}:drift"
        del said["number"]
        said |= event.evidence or {}
    return said


async def _score(scorer: Scorer, requests: Sequence[RowsRequest]) -> dict[int, Scored]:
    staged = [one for request in requests for _, one in request.staged]
    windows = [window for one in staged for window in one.windows]
    if not windows:
        return {id(one): (np.empty(0, np.float32), None) for one in staged}
    if scorer.model.session.row_seconds * len(windows) > INLINE_SECONDS:
        scores, shares = await asyncio.to_thread(scorer.score, windows)
    else:
        scores, shares = scorer.score(windows)
    if not np.isfinite(scores).all():
        raise StreamRefused(
            f"{scorer.model.manifest.reference}: the model finds no number for a window that ends "
            "with these rows. Look at their values: some are far outside what it was trained on."
        )
    found, at = {}, 0
    for one in staged:
        end = at + len(one.windows)
        found[id(one)] = (scores[at:end], None if shares is None else shares[at:end])
        at = end
    return found


def _guarded(request: Request, do: Any) -> None:
    """Whoever is at fault is told, and nobody else."""
    try:
        do()
    except GlasslineError as error:
        if not request.done.done():
            request.done.set_exception(error)
