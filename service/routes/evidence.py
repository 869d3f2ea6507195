"""Routes of evidence: reports to read, bundles to verify."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from service.audit.bundle import bundle
from service.audit.log import AuditLog
from service.reports import HTML, PDF
from service.routes.audit import RecordPath, caller_of, serving_of
from service.routes.negotiation import preferred
from service.serving import Serving

router = APIRouter(prefix="/audit", tags=["audit"])
ZIP = "application/zip"
#: What a report can be had as; the first is what `*/*` gets.
REPORTS = {"html": HTML, "pdf": PDF}


@router.get(
    "/records/{id}/report", responses={200: {"content": {kind: {} for kind in REPORTS.values()}}}
)
async def report(
    request: Request,
    record_id: RecordPath,
    wanted: Annotated[Literal["html", "pdf"] | None, Query(alias="format")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """All that is known of a record, to read and to file: HTML or PDF, by `format` or `Accept`."""
    serving = serving_of(request)
    media_type = REPORTS[wanted] if wanted else preferred(accept, tuple(REPORTS.values()))
    body = await serving.explain_queue.report(record_id, caller_of(request), media_type)
    headers = {"vary": "accept"}
    if media_type == PDF:
        headers["content-disposition"] = f'attachment; filename="report-{record_id}.pdf"'
    return Response(body, media_type=media_type, headers=headers)


@router.get("/records/{id}/bundle", responses={200: {"content": {ZIP: {}}}})
async def evidence_bundle(
    request: Request,
    record_id: RecordPath,
    payloads: Literal["included", "withheld"] = "included",
) -> Response:
    """All evidence of a record in one zip, with the script that verifies it.

    With `payloads=withheld` it holds no input and no artifact, so that it can be handed to
    somebody who may not see them; otherwise that they were read is recorded first.
    """
    serving = serving_of(request)
    body = await asyncio.to_thread(
        _bundled, serving, record_id, caller_of(request), payloads == "withheld"
    )
    disposition = f'attachment; filename="evidence-{record_id}.zip"'
    return Response(body, media_type=ZIP, headers={"content-disposition": disposition})


def _bundled(serving: Serving, record_id: str, caller: str, withheld: bool) -> bytes:
    stored = serving.records.get(record_id)
    names = [one["name"] for one in orjson.loads(stored.body)["payloads"]]
    if names and not withheld:
        said = {"names": names, "purpose": "bundle"}
        serving.recorder.about("read", stored, caller, said)
    log = AuditLog(serving.records)
    return bundle(log.evidence(record_id, names if withheld else ()))
