"""Which records there are: filters, and pages that stay where they are while others write.

Pages go by the record's sequence, which is given in the order of writing: what comes meanwhile is
newer than every page that was begun.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NoReturn

import orjson
from sqlalchemy import Select, exists, func, select

from service.audit.schema import records
from service.errors import InvalidParameter

#: Records of a page, where the request does not say and at most.
PAGE, LARGEST_PAGE = 50, 1000
#: Kinds of record that people put beside another; `review=none` finds those that have none.
REVIEWS: Final = ("review", "override", "correction")
Order = Literal["newest", "oldest"]
#: A record's id is made after what it tells of began: later by the time that took, and earlier by
#: what a clock was set back.
_LONGEST, _CLOCKS = timedelta(days=1), timedelta(hours=1)
#: `review` is the kind of the last one that was put beside a record.
COLUMNS: Final = (
    "sequence", "id", "kind", "created_at", "model", "version", "decision", "score", "caller",
    "request_id", "parent_id", "review", "sha256",
)  # fmt: skip
KINDS: Final = (
    "prediction", "explanation", "shared-explanation", "alarm", "alarm-act", "drift", "stream",
    "model-load", "failure", *REVIEWS,
    "replay", "erasure", "read", "key", "calibration", "gallery",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for; None = any.

    Args:
        since: created at or after; with a time zone.
        until: created before.
        kind: one of `KINDS`.
        decision: the class of the first row, or what an explanation explains.
        score_min: inclusive; of classes the probability, of regressions the value.
        score_max: inclusive.
        about: the record that it explains, reviews, replays or erases.
        review: none, or what somebody put beside it.
        order: newest or oldest first.

    Raises:
        InvalidParameter: a value is none that can be found.
    """

    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    model: str | None = None
    version: str | None = None
    decision: str | None = None
    score_min: float | None = None
    score_max: float | None = None
    caller: str | None = None
    request_id: str | None = None
    about: str | None = None
    review: str | None = None
    order: Order = "newest"

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, str) and (
                "\0" in value or not value.isprintable() or len(value) > 256
            ):
                _refuse(one.name, value, "at most 256 printable characters")
            if isinstance(value, datetime):
                _check_time(one.name, value)
            if isinstance(value, float) and not math.isfinite(value):
                _refuse(one.name, value, "a finite number")
        if self.kind not in (None, *KINDS):
            _refuse("kind", self.kind, ", ".join(KINDS))
        if self.review not in (None, "none", *REVIEWS):
            _refuse("review", self.review, f"none, {', '.join(REVIEWS)}")
        if self.order not in ("newest", "oldest"):
            _refuse("order", self.order, "newest or oldest")

    def digest(self) -> str:
        """Of all filters: a cursor serves the search that it came from."""
        said = {name: str(value) for name, value in asdict(self).items() if value is not None}
        content = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(content).hexdigest()[:16]


def _check_time(name: str, value: datetime) -> None:
    if value.tzinfo is None:
        _refuse(name, value.isoformat(), "a time with its zone: 2026-03-01T08:00:00Z")
    try:
        value.astimezone(UTC)
    except OverflowError:
        _refuse(name, value.isoformat(), "a time between the years 1 and 9999 in UTC")


def last_sequence() -> Select[Any]:
    """The sequence of the newest record, None where there is none."""
    return select(func.max(records.c.sequence))


def statement(
    query: Query, limit: int, cursor: str | None = None, last: int | None = None
) -> Select[Any]:
    """The page after a cursor, one row more than `limit`, so that the end is known.

    Args:
        query: what is searched for.
        limit: records of a page.
        cursor: from `cursor_after`; None = the first page.
        last: the newest sequence that counts; None = all do.

    Raises:
        InvalidParameter: limit or cursor are none.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        _refuse("limit", limit, f"1 to {LARGEST_PAGE}")
    newest = query.order == "newest"
    found = select(*(_shown_column(name) for name in COLUMNS)).where(*_conditions(query))
    if last is not None:
        found = found.where(records.c.sequence <= last)
    if cursor is not None:
        after = _sequence_in(cursor, query)
        found = found.where(records.c.sequence < after if newest else records.c.sequence > after)
    order = records.c.sequence.desc() if newest else records.c.sequence
    return found.order_by(order).limit(limit + 1)


def _shown_column(name: str) -> Any:
    if name != "review":
        return records.c[name]
    other = records.alias("reviewed")
    latest = (
        select(other.c.kind)
        .where(other.c.parent_id == records.c.id, other.c.kind.in_(REVIEWS))
        .order_by(other.c.sequence.desc())
        .limit(1)
    )
    return latest.scalar_subquery().label("review")


def cursor_after(row: dict[str, Any], query: Query) -> str:
    """What asks for the rows after this one."""
    content = orjson.dumps([row["sequence"], query.digest()])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def shown(row: Any) -> dict[str, Any]:
    """A row of `statement` as JSON has it."""
    said = dict(zip(COLUMNS, row, strict=True))
    moment: datetime = said["created_at"]
    # SQLite gives no zone back; it was UTC when it was written.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    said["created_at"] = f"{moment.isoformat(timespec='microseconds')[:26]}Z"
    return said


def _conditions(query: Query) -> list[Any]:
    column = records.c
    found: list[Any] = [
        column[name] == value
        for name in ("model", "version", "decision", "caller", "request_id")
        if (value := getattr(query, name)) is not None
    ]
    if query.kind is not None:
        # Indexed for all but predictions, of which there are too many for it to help.
        rare = query.kind != "prediction"
        found.append((column.rare_kind if rare else column.kind) == query.kind)
    if query.about is not None:
        found.append(column.parent_id == query.about)
    if query.since is not None:
        since = query.since.astimezone(UTC)
        found += [column.id >= _id_of(since, -_CLOCKS), column.created_at >= since]
    if query.until is not None:
        until = query.until.astimezone(UTC)
        found += [column.id < _id_of(until, _LONGEST), column.created_at < until]
    if query.score_min is not None:
        found.append(column.score >= query.score_min)
    if query.score_max is not None:
        found.append(column.score <= query.score_max)
    if query.review is not None:
        other = records.alias("beside")
        wanted = REVIEWS if query.review == "none" else (query.review,)
        beside = exists(
            select(other.c.id).where(other.c.parent_id == column.id, other.c.kind.in_(wanted))
        )
        found.append(~beside if query.review == "none" else beside)
    return found


def first_id(moment: datetime) -> str:
    """What no id of a record that began at this moment or later is below."""
    return _id_of(moment, timedelta(0))


def _id_of(moment: datetime, more: timedelta) -> str:
    """What ids of a moment begin with (RFC 9562, version 7): they are indexed, times are not."""
    try:
        milliseconds = max(0, int((moment + more).timestamp() * 1000))
    except OverflowError:
        milliseconds = 0 if more < timedelta(0) else (1 << 48) - 1
    digits = f"{min(milliseconds, (1 << 48) - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _sequence_in(cursor: str, query: Query) -> int:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        sequence, digest = orjson.loads(base64.b64decode(padded, b"-_", validate=True))
    except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError, TypeError, ValueError):
        _refuse("cursor", cursor, "the `next` of a page before, unchanged")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or abs(sequence) >= 1 << 62:
        _refuse("cursor", cursor, "the `next` of a page before, unchanged")
    if digest != query.digest():
        raise InvalidParameter(
            "search: cursor: comes from a search with other filters. Keep them, or begin anew "
            "without a cursor."
        )
    return sequence


def _refuse(name: str, got: Any, wanted: str) -> NoReturn:
    raise InvalidParameter(f"search: {name}: got {str(got)[:80]!r}, wanted {wanted}.")
