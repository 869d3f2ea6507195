"""Payloads that go: on request, or because they are old; the log stays as it is.

A record commits to its payloads by salted digests. Erasing drops content and salt, in the one
transaction with the record that says so: without the salt nobody can guess the content from the
digest, and the log still verifies.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select

from service.audit.record import Record, build, new_id, timestamp
from service.audit.schema import payloads, records
from service.audit.search import first_id
from service.audit.store import RecordStore, StoredRecord
from service.errors import Conflict

#: Records whose payloads go in one transaction, so that nobody waits long behind it.
CHUNK: Final = 200


def reach(store: RecordStore, record: StoredRecord) -> list[str]:
    """Which records lose payloads when this one's are erased: its explanations show them too.

    Returns:
        Ids of those that still have any, at least one.

    Raises:
        Conflict: nothing is left to erase.
        Unavailable: the database does not answer.
    """
    explanations = select(records.c.id).where(
        records.c.parent_id == record.id, records.c.kind == "explanation"
    )
    query = (
        select(payloads.c.record_id)
        .where(
            (payloads.c.record_id == record.id) | payloads.c.record_id.in_(explanations),
            payloads.c.erased_at.is_(None),
        )
        .distinct()
        .order_by(payloads.c.record_id)
    )
    found = [row.record_id for row in store.rows(query)]
    if not found:
        raise Conflict(f"record {record.id}: has no payloads, or they were erased before.")
    return found


class Retention:
    """Finds payloads that are older than they may get.

    Args:
        store: where they are.
        days: how long they are kept.
    """

    def __init__(self, store: RecordStore, days: int) -> None:
        self._store = store
        self._days = days
        self._after = ""

    def next(self, now: datetime) -> Record | None:
        """A record that erases the oldest of them once it is appended; None when none is left.

        Raises:
            Unavailable: the database does not answer.
        """
        end = now - timedelta(days=self._days)
        query = (
            select(payloads.c.record_id)
            .where(
                payloads.c.record_id > self._after,
                payloads.c.record_id < first_id(end),
                payloads.c.erased_at.is_(None),
            )
            .distinct()
            .order_by(payloads.c.record_id)
            .limit(CHUNK)
        )
        found = [row.record_id for row in self._store.rows(query)]
        if not found:
            return None
        self._after = found[-1]
        said = {
            "started_at": timestamp(now),
            "caller": "glassline",
            "erases": found,
            "reason": f"kept for {self._days} days (GLASSLINE_PAYLOAD_DAYS)",
            "before": timestamp(end),
        }
        return build("erasure", new_id(), now.astimezone(UTC), said, {"caller": "glassline"})
