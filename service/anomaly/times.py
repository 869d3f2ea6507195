"""Event times: whole microseconds since 1970 in UTC, and RFC 3339 for people."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Of an aware moment; exact, whatever its year."""
    # Whole numbers: a float of seconds misses a microsecond from 2106 on.
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


@lru_cache(maxsize=4096)
def rfc3339(time: int) -> str:
    """Microseconds since 1970 as text in UTC, without a fraction where there is none."""
    seconds, rest = divmod(time, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{text}.{rest:06d}Z" if rest else f"{text}Z"
