"""What an operator says of an alarm, as it comes over MQTT."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from service.errors import MalformedBody

_EXAMPLE = '{"alarm": "ID", "verdict": "false", "by": "Ada Lovelace", "comment": "cleaning"}'


def request(payload: bytes) -> tuple[str, bytes]:
    """Path and body of the request that a message stands for.

    Raises:
        MalformedBody: no JSON object, or it names no alarm.
    """
    try:
        said: Any = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"feedback: no JSON ({error}). Send {_EXAMPLE}") from None
    if not isinstance(said, dict) or not isinstance(said.get("alarm"), str) or not said["alarm"]:
        raise MalformedBody(f"feedback: no 'alarm' in it. Send {_EXAMPLE}")
    alarm = quote(said.pop("alarm"), safe="")
    return f"/v2/alarms/{alarm}/feedback", orjson.dumps(said)
