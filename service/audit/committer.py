"""One transaction for a group of records, and who is at fault when there is none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from service import metrics
from service.audit.log_writer import LogWriter
from service.audit.record import Record
from service.errors import GlasslineError

#: Tries of one group while another process holds the database, and seconds between them.
#: With `store.BUSY_MS` a caller waits ten seconds at most for a database that does not answer.
TRIES = 3
PAUSE_S = 0.2


class Committer:
    """Makes groups of records durable.

    Args:
        log: where they go.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self.out_of_order: str | None = None

    def write(self, group: Sequence[Record]) -> list[str | None]:
        """Write records; a record that is at fault itself fails alone.

        Returns:
            For each record None where it is durable, else why it is not.

        `out_of_order` then says why the store does not work, if it does not: who waited
        meanwhile has waited long enough, and deserves the same answer at once.
        """
        self.out_of_order = None
        try:
            reason = self._transaction(group)
        except Exception as error:  # not the store but a record of the group is at fault
            if len(group) > 1:
                return self._singly(group)
            return [None if self._stands_already(group[0], error) else _said(error)]
        if reason is None:
            metrics.audit_group()(len(group))
        return [reason] * len(group)

    def _singly(self, group: Sequence[Record]) -> list[str | None]:
        reasons: list[str | None] = []
        for record in group:
            try:
                store_at_fault = self._transaction([record])
            except Exception as error:
                reasons.append(None if self._stands_already(record, error) else _said(error))
                continue
            if store_at_fault:  # the others have waited long enough: the same answer, at once
                return reasons + [store_at_fault] * (len(group) - len(reasons))
            reasons.append(None)
        return reasons

    def _transaction(self, records: Sequence[Record]) -> str | None:
        """None once all are durable, else why none is; anything else raised is a record's fault."""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S)
            try:
                self._log.append(records)
                return None
            except (OperationalError, InterfaceError) as error:  # locked, full, gone
                reason = _said(error)
            except GlasslineError as error:  # no key to sign with, a tree that does not hold
                reason = str(error)
                break
        self.out_of_order = reason
        return reason

    def _stands_already(self, record: Record, error: Exception) -> bool:
        """Whether an earlier try had been committed although the database did not say so."""
        if not isinstance(error, IntegrityError):
            return False
        with contextlib.suppress(GlasslineError):
            return self._log.store.get(record.id).body == record.body
        return False


def not_recorded(reason: str) -> str:
    """What a caller is told whose record could not be written."""
    return f"record store: nothing was recorded, so nothing is answered ({reason})."


def _said(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)
