"""What people tell a stream: whether an alarm was a true one, and that what is now is right."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from service import stream_metrics
from service.anomaly.stream import StreamKey
from service.anomaly.times import microseconds
from service.errors import InvalidParameter, NotFound
from service.streaming.engine import Engine
from service.streaming.journal import ActEntry
from service.streaming.turns import TurnWork

#: Longest comment of an operator, in characters.
COMMENT: Final = 2000


class Care:
    """Takes it in, between rows, durably.

    Args:
        engine: owns the streams.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def feedback(self, asked: Mapping[str, Any], _: bytes) -> dict[str, Any]:
        """Whether an alarm was a true one; what follows.

        Raises:
            InvalidParameter: no verdict, or nobody who gives it.
            NotFound: no such alarm, or it is long over.
        """
        key, number = alarm_of(asked["alarm"])
        verdict = asked.get("verdict")
        if verdict not in ("true", "false"):
            raise InvalidParameter(
                f'alarm: feedback: verdict: got {verdict!r:.40}, wanted "true" (there was '
                'something) or "false" (there was not).'
            )
        by, comment = person(asked, "feedback")
        now = microseconds(datetime.now(UTC))

        def do(work: TurnWork) -> dict[str, Any]:
            stream = work.memory.get(key)
            said = {
                "number": number, "verdict": verdict, "time": now, "by": by, "comment": comment,
            }  # fmt: skip
            event, follows = stream.say(**said)
            work.write(ActEntry(key, "feedback", said))
            line = work.announce(stream, event)
            work.owe("act", {"event": line, "caller": asked["caller"]})
            stream_metrics.FEEDBACK.labels(key.model, key.version, verdict).inc()
            return {**line, **follows, "precision": stream.feedback.precision}

        answer: dict[str, Any] = await self._engine.act(key, do)
        return answer

    async def rebase(self, key: StreamKey, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What is now is right: drift is told from here on.

        Raises:
            InvalidParameter: nobody says so.
            Conflict: nobody looks for drift in this stream.
        """
        by, comment = person(asked, "rebase")
        said: dict[str, Any] = {
            "time": microseconds(datetime.now(UTC)), "by": by, "comment": comment,
        }  # fmt: skip

        def do(work: TurnWork) -> dict[str, Any]:
            stream = work.memory.get(key)
            event = stream.rebase(**said)
            work.write(ActEntry(key, "rebase", said))
            line = work.announce(stream, event)
            work.owe("act", {"event": line, "caller": asked["caller"]})
            return line

        answer: dict[str, Any] = await self._engine.act(key, do)
        return answer


def person(asked: Mapping[str, Any], act: str) -> tuple[str, str | None]:
    """Who acts, and their words.

    Raises:
        InvalidParameter: nobody is named, or they say too much.
    """
    by, comment = asked.get("by"), asked.get("comment")
    if not isinstance(by, str) or not by.strip() or len(by) > 256:
        raise InvalidParameter(f"alarm: {act}: by: wanted the name of who acts, got {by!r:.60}.")
    if comment is not None and (not isinstance(comment, str) or len(comment) > COMMENT):
        raise InvalidParameter(f"alarm: {act}: comment: wanted at most {COMMENT} letters.")
    return by, comment


def alarm_of(alarm_id: str) -> tuple[StreamKey, int]:
    """Stream and number of an alarm's id.

    Raises:
        NotFound: it is none.
    """
    parts = alarm_id.split(":")
    if len(parts) != 4 or not parts[3].isdecimal() or len(parts[3]) > 12:
        shown = alarm_id[:80].encode("ascii", "backslashreplace").decode()
        raise NotFound(f"no alarm has the id '{shown}': ids are stream:model:version:number.")
    return StreamKey(parts[1], parts[2], parts[0]), int(parts[3])
