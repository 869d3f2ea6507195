"""All that is known of a record: itself, what it tells of, and what was put beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.audit import search
from service.audit.bundle import Evidence, check
from service.audit.log import AuditLog
from service.audit.store import RecordStore, StoredRecord
from service.errors import Conflict, NotFound, Unavailable
from service.manifest import Manifest
from service.past import Past

#: Records beside one that are told, of each kind the newest.
MOST_BESIDE = 200
_TOLD = (
    *search.REVIEWS, "replay", "erasure", "explanation", "shared-explanation", "read", "alarm-act",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """A record with what it says."""

    stored: StoredRecord
    body: Mapping[str, Any]
    created_at: str

    @property
    def id(self) -> str:
        """Its id."""
        return self.stored.id

    @property
    def kind(self) -> str:
        """Its kind."""
        return self.stored.kind


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is written from.

    Attributes:
        record: that the report is about.
        prediction: the record itself, what it explains, or of an alarm the window that raised it;
            None for other kinds.
        explanation: the record itself, or the newest explanation of the prediction.
        row: of the prediction's batch, that is explained and shown.
        beside: what was put beside the record, by kind, oldest first.
        manifest: of the very model version; None where it cannot be had, and then `missing` says
            why.
        evidence: the proof, without payloads.
    """

    record: Told
    prediction: Told | None
    explanation: Told | None
    row: int
    beside: Mapping[str, Sequence[Told]]
    manifest: Manifest | None
    missing: str
    evidence: Evidence


class Collector:
    """Collects what is known of records.

    Args:
        past: models that made them.
        records: where they are.
    """

    def __init__(self, past: Past, records: RecordStore) -> None:
        self._past = past
        self._records = records
        self._log = AuditLog(records)

    def collect(self, record_id: str) -> Material:
        """What is known of a record.

        Raises:
            UnknownRecord: there is none of this id.
            CorruptLog: the log does not hold what it must.
        """
        record = self._told(record_id)
        beside = self._beside(record)
        prediction, explanation = None, None
        row = 0
        if record.kind == "prediction":
            prediction = record
            explanation, row = self._explanation(beside)
        elif record.kind == "explanation":
            explanation, row = record, record.body["row"]
            prediction = self._told(record.body["explains"])
        elif record.kind == "alarm" and record.body.get("prediction"):
            prediction = self._told(record.body["prediction"])
            of_window = self._beside(prediction)
            explanation, row = self._explanation(of_window)
            beside["erasure"] = [*beside["erasure"], *of_window["erasure"]]
        manifest, missing = self._manifest(
            record if prediction is None or record.kind != "alarm" else prediction
        )
        names = [one["name"] for one in record.body["payloads"]]
        evidence = self._log.evidence(record_id, names)
        check(evidence)
        return Material(record, prediction, explanation, row, beside, manifest, missing, evidence)

    def _explanation(self, beside: Mapping[str, Sequence[Told]]) -> tuple[Told | None, int]:
        """The newest explanation of a prediction, its own or one that it shares, and of which row.

        One that is shared was made for another prediction with the same input, model and
        parameters, and is the same to the bit.
        """
        made = max(
            (*beside["explanation"], *beside["shared-explanation"]),
            key=lambda told: told.stored.sequence,
            default=None,
        )
        if made is None:
            return None, 0
        row = int(made.body["row"])
        return (made if made.kind == "explanation" else self._told(made.body["explanation"])), row

    def _told(self, record_id: str) -> Told:
        stored = self._records.get(record_id)
        body = orjson.loads(stored.body)
        return Told(stored, body, body.get("started_at", ""))

    def _beside(self, record: Told) -> dict[str, list[Told]]:
        found: dict[str, list[Told]] = {}
        for kind in _TOLD:
            query = search.Query(about=record.id, kind=kind, order="newest")
            rows = self._records.rows(search.statement(query, MOST_BESIDE))
            ids = [search.shown(row)["id"] for row in rows[:MOST_BESIDE]]
            found[kind] = [self._told(one) for one in reversed(ids)]
        return found

    def _manifest(self, record: Told) -> tuple[Manifest | None, str]:
        if "manifest_sha256" not in record.body.get("model", {}):
            return None, ""
        try:
            return self._past.model_of(record.stored).manifest, ""
        except (NotFound, Conflict, Unavailable) as error:
            return None, str(error)
