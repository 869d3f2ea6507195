"""What the bridge publishes: each message with an id that is the same whenever it is made again."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

#: Bytes of a refused payload that its dead letter shows.
SHOWN = 16_384
_PASSING = frozenset(("duplicate", "gap_s"))


@dataclass(frozen=True)
class Letter:
    """A message on its way out.

    Attributes:
        id: the same for the same event; it stands in the payload too.
        kind: verdict, alarm or dead-letter.
        topic: where it goes.
        payload: JSON.
    """

    id: str
    kind: str
    topic: str
    payload: bytes
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.payload).hexdigest())


def verdicts(answer: Mapping[str, Any], prefix: str) -> Iterator[Letter]:
    """A letter for each row that a stream has judged.

    Args:
        answer: of the stream's route.
        prefix: of all topics.
    """
    model, version, stream = (answer[key] for key in ("model_name", "model_version", "stream"))
    for answered in answer["rows"]:
        # What hangs on when it was asked, and not on the row: asked again it would differ.
        row = {name: value for name, value in answered.items() if name not in _PASSING}
        name = f"verdict/{model}/{version}/{stream}/{row['time']}"
        said = {
            "id": name, "model_name": model, "model_version": version, "stream": stream, **row,
        }  # fmt: skip
        topic = f"{prefix}/{_level(model)}/{_level(stream)}/verdicts"
        yield Letter(name, "verdict", topic, _json(said))


def alarm(event_id: str, said: Mapping[str, Any], prefix: str) -> Letter:
    """A letter for something that happened to an alarm.

    Args:
        event_id: of the server's feed.
        said: the event.
        prefix: of all topics.
    """
    model, stream = _level(said.get("model")), _level(said.get("stream") or said.get("line"))
    topic = f"{prefix}/{model}/{stream}/alarms"
    name = f"alarm/{event_id}"
    return Letter(name, "alarm", topic, _json({**said, "id": name}))


def dead(topic: str, payload: bytes, reason: str, to: str) -> Letter:
    """A letter that says why a message became nothing.

    The same message dies once: its id is the digest of topic and payload.

    Args:
        topic: it came on.
        payload: as it came; the letter shows the first `SHOWN` bytes of it.
        reason: where, got, wanted, remedy.
        to: the dead-letter topic.
    """
    digest = hashlib.sha256(payload).hexdigest()
    both = hashlib.sha256(topic.encode() + b"\0" + payload).hexdigest()
    name = f"dead/{both[:32]}"
    said: dict[str, Any] = {
        "id": name, "topic": topic, "reason": reason,
        "payload_bytes": len(payload), "payload_sha256": digest,
    }  # fmt: skip
    shown = payload[:SHOWN]
    try:
        said["payload"] = shown.decode()
    except UnicodeDecodeError:
        said["payload_base64"] = base64.b64encode(shown).decode()
    return Letter(name, "dead-letter", to, _json(said))


def _level(name: Any) -> str:
    """A name as one level of a topic."""
    return re.sub(r"[+#/\0]", "_", name) if isinstance(name, str) and name else "-"


def _json(said: Mapping[str, Any]) -> bytes:
    """Sorted keys: the same content is the same bytes."""
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
