"""Event times: whole microseconds since 1970 in UTC, and RFC 3339 for people."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

SECOND: Final = 1_000_000


def microseconds(moment: datetime) -> int:
    """Of an aware moment; exact."""
    # A float holds every microsecond of the next two centuries: the product is rounded, not cut.
    return round(moment.timestamp() * SECOND)


@lru_cache(maxsize=4096)
def rfc3339(time: int) -> str:
    """Microseconds since 1970 as text in UTC, without a fraction where there is none."""
    seconds, rest = divmod(time, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{text}.{rest:06d}Z" if rest else f"{text}Z"
