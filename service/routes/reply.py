"""What a route answers, before anybody knows over which lane it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

JSON = "application/json"
PNG = "image/png"


@dataclass(slots=True)
class Reply:
    """One response: status, body, and the headers beyond length and request id."""

    body: bytes
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
