"""The alarm log as it is read: pages, alarms with their state, and a feed that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import orjson

from service.streaming.store import StreamStore

#: Seconds between two looks for new events, and between signs of life without any.
LOOK_S: Final = 0.2
ALIVE_S: Final = 15.0
#: Events sent in one go.
AT_ONCE: Final = 256


class AlarmFeed:
    """Reads the alarm log of a home; any process may.

    Args:
        store: opened for reading.
    """

    def __init__(self, store: StreamStore) -> None:
        self._store = store

    def page(self, after: int, limit: int, stream: str | None, *, history: bool) -> dict[str, Any]:
        """Alarms with what became of them, the newest first, events, and floods and drifts.

        Args:
            after: events with a higher sequence are listed.
            limit: most alarms, and most events.
            stream: whose alarms; None = all.
            history: whether historical ones too.
        """
        last = self._store.last_sequence()
        events = self._store.events(after, limit, live=not history)
        alarms = self._store.newest_alarms(limit, stream, history=history)
        standing = [orjson.loads(body) for body in self._store.standing()]
        said = [{"id": sequence, **orjson.loads(body)} for sequence, _, body in events]
        return {
            "alarms": [self.alarm(one) for one in alarms],
            "events": [one for one in said if stream in (None, one.get("stream"))],
            "last_event_id": last,
            "floods": [one for one in standing if one["change"] == "flood-begun"],
            "drifts": [
                one
                for one in standing
                if one["change"] == "drift-begun" and stream in (None, one["stream"])
            ],
        }

    def alarm(self, alarm: str) -> dict[str, Any]:
        """One alarm: when it was raised and why, what became of it, and its records."""
        events = [
            orjson.loads(b) for _, _, b in self._store.events(0, 1000, live=False, alarm=alarm)
        ]
        raised: dict[str, Any] = next((one for one in events if one["change"] == "raised"), {})
        changes = [one["change"] for one in events]
        said = {name: value for name, value in raised.items() if name not in ("change", "time")}
        ended = [one for one in events if one["change"] in ("cleared", "reset")]
        return {
            **said,
            "raised": raised.get("time"),
            "cleared": ended[-1]["time"] if ended else None,
            "active": not ended,
            "acknowledged": _last(changes, "acknowledged", "re-alarmed") == "acknowledged",
            "confirmed": "confirmed" in changes,
            "judged": _verdict(changes),
            "shelved": _last(changes, "shelved", "unshelved", "reset") == "shelved",
            "changes": [
                {k: one[k] for k in ("change", "time", "by", "comment", "until") if k in one}
                for one in events
            ],
            **{k: v for k, v in self._store.evidence(alarm).items() if k != "alarm"},
        }

    async def follow(self, after: int | None, over: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Live events as they come, in the form of server-sent events (WHATWG HTML, 9.2).

        Args:
            after: the sequence of the last event that is known; None = from now on.
            over: whether the server is stopping.
        """
        last = self._store.last_sequence()
        # An id from before the home was made anew is of no event here: waiting for the ids to
        # come so far would leave out all until then.
        at = last if after is None else min(after, last)
        yield b"retry: 1000\n: alarms follow\n\n"
        quiet = 0.0
        while not over():
            events = self._store.events(at, AT_ONCE, live=True)
            for sequence, change, body in events:
                yield f"id: {sequence}\nevent: {change}\ndata: {body}\n\n".encode()
                at = sequence
            if events:
                quiet = 0.0
                continue
            await asyncio.sleep(LOOK_S)
            quiet += LOOK_S
            if quiet >= ALIVE_S:
                quiet = 0.0
                yield b": alive\n\n"


def _verdict(changes: list[str]) -> str | None:
    """The last word on whether it was a true alarm."""
    said = _last(changes, "judged-true", "judged-false")
    return said.removeprefix("judged-") if said else None


def _last(changes: list[str], *either: str) -> str | None:
    return next((one for one in reversed(changes) if one in either), None)
