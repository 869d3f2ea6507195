"""Reports on records: collected, written, and the reading of payloads recorded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from service.audit.record import timestamp
from service.audit.recorder import Recorder
from service.audit.store import RecordStore
from service.past import Past, fail_safe_of
from service.reports import PDF, proof, sections
from service.reports.alarm import alarm, event_of
from service.reports.blocks import Fact, Facts, Literal, Report, Section
from service.reports.material import Collector, Material
from service.reports.stream import done, stream, stream_of

#: Of a record, what other sections tell.
_ELSEWHERE = frozenset({"payloads", "environment", "model", "schema"})


class Reporter:
    """Writes reports.

    Args:
        past: models that made the records.
        records: where these are.
        recorder: that a payload was read is recorded before it is shown.
    """

    def __init__(self, past: Past, records: RecordStore, recorder: Recorder) -> None:
        self._collector = Collector(past, records)
        self._records = records
        self._recorder = recorder

    def report(self, record_id: str, caller: str, media_type: str) -> bytes:
        """The report on a record.

        Args:
            record_id: of any kind.
            caller: who reads it.
            media_type: HTML or PDF.

        Raises:
            UnknownRecord: there is none of this id.
            CorruptLog: the log does not hold what it must.
            Unavailable: that it is read could not be recorded.
        """
        material = self._collector.collect(record_id)
        self._note_read(material, caller)
        report = self._written(material)
        if media_type == PDF:
            from service.reports.paper import pdf

            return pdf(report)
        from service.reports.page import html

        return html(report).encode()

    def _note_read(self, material: Material, caller: str) -> None:
        """One record for each whose payloads the report shows."""
        for told in (material.prediction, material.explanation):
            if told is not None and (names := [one["name"] for one in told.body["payloads"]]):
                said = {"names": names, "purpose": "report"}
                self._recorder.about("read", told.stored, caller, said)

    def _written(self, material: Material) -> Report:
        record = material.record
        told = [
            alarm(material),
            stream(material),
            sections.decision(material),
            self._details(material),
            sections.the_input(material, self._records),
            sections.why(material, self._records) if material.prediction else None,
            proof.model(material),
            sections.reviews(material),
            sections.since(material),
            proof.environment(material),
            proof.proof(material),
            proof.how_to_verify(material),
        ]
        return Report(
            title=f"Report on {_article(record.kind)}",
            verdict=_verdict(material),
            stance=_stance(material),
            record_id=record.id,
            made_at=timestamp(datetime.now(UTC)),
            sections=[section for section in told if section is not None],
        )

    def _details(self, material: Material) -> Section | None:
        """All that a record of another kind says."""
        if material.prediction is not None or material.record.kind in ("alarm", "stream"):
            return None
        said: Mapping[str, Any] = material.record.body
        rest = {name: value for name, value in said.items() if name not in _ELSEWHERE}
        text = orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode()
        about = said.get("about")
        if about is None:
            return Section("What it says", [Literal(text)])
        fact = Fact("About record", about["id"], about["kind"], literal=True)
        return Section("What it says", [Facts([fact]), Literal(text)])


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _verdict(material: Material) -> str:
    prediction, raised = material.prediction, event_of(material)
    if raised is not None:
        return f"{raised['stream']}, {raised['time']}"
    if (about := stream_of(material)) is not None:
        return done(about)
    if prediction is None:
        return material.record.kind
    said = prediction.body["decision"]
    if fail_safe_of(prediction.body) is not None:
        return f"the fail-safe, “{said['labels'][0]:.200}”" if said["labels"] else "the fail-safe"
    if not said["labels"]:
        return "values, see below"
    first = f"“{said['labels'][0]:.200}”"
    if "p_values" in said:
        first += f", p-value {said['p_values'][0]:.3g}"
    elif said["confidence"]:
        first += f", {said['confidence'][0]:.1%}"
    more = len(said["labels"]) - 1
    return first + (f", and {more} rows more" if more else "")


def _stance(material: Material) -> str:
    """The last word of people, which stands beside the model's and not in its place."""
    beside = material.beside
    words = []
    if beside["override"]:
        last = beside["override"][-1].body
        words.append(f"overridden by {last['person']}: “{last['decision']}”")
    if beside["correction"]:
        words.append(f"corrected by {beside['correction'][-1].body['person']}")
    if beside["review"]:
        last = beside["review"][-1].body
        words.append(f"signed by {last['person']}: {last['meaning']}")
    if beside["erasure"]:
        words.append("payloads erased")
    return "; ".join(words) or "not reviewed"
