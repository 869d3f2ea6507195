"""What changes a stream, as entries that can be applied again: rows with their scores, and acts.

With the scores in it the journal needs no model when it is read, nor the processor that made them.
An entry is the sizes of its head and of what follows, and these two. The head is JSON, or of rows
numbers and the stream's key, and what follows are the arrays; all numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from service.anomaly.stream import StreamKey

_SIZES: Final = struct.Struct("<II")
#: of rows: their number, sensors, scores; whether historical; whether with shares. The first byte
#: is 0, with which no JSON begins.
_ROWS: Final = struct.Struct("<xIHI??")


@dataclass(frozen=True, slots=True)
class RowsEntry:
    """Rows as they came, and what the model said of their windows."""

    key: StreamKey
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    historical: bool
    scores: NDArray[np.float32]
    #: (k, C) of each sensor in the error; None where the model tells of none
    shares: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class ActEntry:
    """Anything else, say `begin`, `settings`, `act` or `put` (a whole state); `said` is JSON."""

    key: StreamKey
    what: str
    said: dict[str, Any]
    content: bytes = b""


Entry = RowsEntry | ActEntry


def packed(entry: Entry) -> bytes:
    """An entry as bytes."""
    if isinstance(entry, ActEntry):
        said = {"key": list(entry.key), "what": entry.what, "said": entry.said}
        return _framed(said, entry.content)
    shares = entry.shares
    key = "\n".join(entry.key).encode()
    n, width = entry.values.shape
    head = _ROWS.pack(n, width, len(entry.scores), entry.historical, shares is not None) + key
    parts = [
        b"", head, entry.times.astype("<i8", copy=False).tobytes(),
        entry.values.astype("<f4", copy=False).tobytes(),
        entry.scores.astype("<f4", copy=False).tobytes(),
    ]  # fmt: skip
    if shares is not None:
        parts.append(shares.astype("<f4", copy=False).tobytes())
    parts[0] = _SIZES.pack(len(head), sum(map(len, parts)) - len(head))
    return b"".join(parts)


def _framed(head: dict[str, Any], rest: bytes) -> bytes:
    text = orjson.dumps(head)
    return _SIZES.pack(len(text), len(rest)) + text + rest


def unpacked(content: bytes) -> Iterator[Entry]:
    """All entries in some bytes, in their order."""
    at = 0
    while at < len(content):
        head_size, rest_size = _SIZES.unpack_from(content, at)
        at += _SIZES.size
        head = content[at : at + head_size]
        at += head_size
        yield _entry(head, content[at : at + rest_size])
        at += rest_size


def _entry(head: bytes, rest: bytes) -> Entry:
    if head.startswith(b"{"):
        act = orjson.loads(head)
        return ActEntry(StreamKey(*act["key"]), act["what"], act["said"], rest)
    n, width, k, historical, shared = _ROWS.unpack_from(head)
    key = StreamKey(*head[_ROWS.size :].decode().split("\n"))
    ends = np.cumsum([8 * n, 4 * n * width, 4 * k, 4 * k * width if shared else 0]).tolist()
    times = np.frombuffer(rest[: ends[0]], "<i8")
    values = np.frombuffer(rest[ends[0] : ends[1]], "<f4").reshape(n, width)
    scores = np.frombuffer(rest[ends[1] : ends[2]], "<f4")
    shares = None
    if shared:
        shares = np.frombuffer(rest[ends[2] : ends[3]], "<f4").reshape(k, width)
    return RowsEntry(key, times, values, historical, scores, shares)
