"""Records on their way to the process that writes them, and its word on each.

A record's frame is its number, the size of a JSON head and the size of what follows, then
these two: the body, then the payloads' contents, one after the other. An answer is a
number, an outcome, and the size and bytes of a reason. All integers are little-endian. It
is spoken between processes of one version on one machine, and nowhere kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import orjson

from service.audit.record import Payload, Record

_FRAME: Final = struct.Struct("<QII")
_ANSWER: Final = struct.Struct("<QBH")

DURABLE, UNAVAILABLE = 0, 1


def packed(number: int, record: Record) -> bytes:
    """A record's frame."""
    head = orjson.dumps(
        {
            "id": record.id,
            "kind": record.kind,
            "created_at": record.created_at.isoformat(),
            "columns": record.columns,
            "body": len(record.body),
            "payloads": [
                (p.name, p.media_type, p.salt.hex(), p.commitment, len(p.content))
                for p in record.payloads
            ],
        }
    )
    contents = [payload.content for payload in record.payloads]
    rest = len(record.body) + sum(map(len, contents))
    return b"".join((_FRAME.pack(number, len(head), rest), head, record.body, *contents))


def answer(number: int, outcome: int, reason: str = "") -> bytes:
    """What became of the record of this number."""
    said = reason.encode("utf-8", "replace")[:65535]
    return _ANSWER.pack(number, outcome, len(said)) + said


class Records:
    """Records out of a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, Record]]:
        """Number and record of each frame that these bytes complete."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _FRAME.size:
            number, head, rest = _FRAME.unpack_from(buffer, start)
            body = start + _FRAME.size + head
            if len(buffer) < body + rest:
                break
            text = bytes(buffer[start + _FRAME.size : body])
            yield number, _record(orjson.loads(text), bytes(buffer[body : body + rest]))
            start = body + rest
        del buffer[:start]


def _record(head: dict[str, Any], rest: bytes) -> Record:
    start: int = head["body"]
    body, payloads = rest[:start], []
    for name, media_type, salt, commitment, size in head["payloads"]:
        content = rest[start : start + size]
        payloads.append(Payload(name, media_type, content, bytes.fromhex(salt), commitment))
        start += size
    created = datetime.fromisoformat(head["created_at"])
    return Record(head["id"], head["kind"], created, body, head["columns"], tuple(payloads))


class Answers:
    """Answers out of a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, str]]:
        """Number, outcome and reason of each answer that these bytes complete."""
        buffer = self._buffer + data
        start = 0
        while len(buffer) - start >= _ANSWER.size:
            number, outcome, size = _ANSWER.unpack_from(buffer, start)
            end = start + _ANSWER.size + size
            if len(buffer) < end:
                break
            yield number, outcome, buffer[start + _ANSWER.size : end].decode("utf-8", "replace")
            start = end
        self._buffer = buffer[start:]
