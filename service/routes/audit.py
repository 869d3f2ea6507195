"""Routes of reviewers and auditors: records found, read, reviewed and replayed."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import chain
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BeforeValidator

from service.audit import erasure, review, search, table_export
from service.errors import Conflict, InvalidParameter, TooLarge
from service.routes.negotiation import preferred
from service.routes.reply import JSON
from service.serving import Serving

router = APIRouter(prefix="/audit", tags=["audit"])
RecordPath = Annotated[str, Path(alias="id", description="Record id.", max_length=64)]
Text = Annotated[str | None, Query(max_length=256)]


def _dated(text: str) -> str:
    """Refuse a bare number, which would be taken for seconds since 1970."""
    if text.replace(".", "", 1).lstrip("+-").isdigit():
        raise ValueError("wanted a date and time as RFC 3339 has it, 2026-11-25T08:00:00Z")
    return text


Moment = Annotated[datetime, BeforeValidator(_dated)]
#: What a search can be had as; the first is what `*/*` gets.
FORMATS = {"json": JSON, "csv": table_export.CSV, "parquet": table_export.PARQUET}
#: Bytes of a review's body.
LARGEST_REVIEW = 2 * review.LARGEST_CORRECTION


def serving_of(request: Request) -> Serving:
    """The state of this worker."""
    serving: Serving = request.app.state.serving
    return serving


def caller_of(request: Request) -> str:
    """Who asks; the gate has found out."""
    caller: str = request.state.caller
    return caller


@router.get("/records", responses={200: {"content": {kind: {} for kind in FORMATS.values()}}})
async def find(
    request: Request,
    since: Moment | None = None,
    until: Moment | None = None,
    kind: Text = None,
    model: Text = None,
    version: Text = None,
    decision: Text = None,
    score_min: float | None = None,
    score_max: float | None = None,
    caller: Text = None,
    request_id: Text = None,
    about: Text = None,
    review: Text = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: int | None = None,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    wanted: Annotated[Literal["json", "csv", "parquet"] | None, Query(alias="format")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """Records by what they say: a page with the cursor of the `next`, or all as CSV or Parquet."""
    _refuse_unknown(request)
    query = search.Query(
        since, until, kind, model, version, decision, score_min, score_max, caller, request_id,
        about, review, order,
    )  # fmt: skip
    media_type = FORMATS[wanted] if wanted else preferred(accept, tuple(FORMATS.values()))
    if media_type != JSON:
        if limit is not None or cursor is not None:
            raise InvalidParameter(
                "search: limit, cursor: a file holds all that is found. Leave them out."
            )
        return await _file(serving_of(request), query, media_type)
    limit = search.PAGE if limit is None else limit
    statement = search.statement(query, limit, cursor)
    rows = await asyncio.to_thread(serving_of(request).records.rows, statement)
    found = [search.shown(row) for row in rows[:limit]]
    more = search.cursor_after(found[-1], query) if len(rows) > limit else None
    content = orjson.dumps({"records": found, "next": more})
    return Response(content, media_type=JSON, headers={"vary": "accept"})


def _refuse_unknown(request: Request) -> None:
    """A filter that is misspelt would find what was not asked for."""
    given = [name for name, _ in request.query_params.multi_items()]
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    if strangers := sorted(set(given) - known):
        raise InvalidParameter(
            f"search: got '{strangers[0][:80]}', which is no filter. Known: "
            f"{', '.join(sorted(known))}."
        )
    if len(set(given)) != len(given):
        raise InvalidParameter("search: a filter stands there twice; send each once.")


async def _file(serving: Serving, query: search.Query, media_type: str) -> Response:
    """All that is found; what can be refused is refused before the answer begins."""
    write = table_export.csv_of if media_type == table_export.CSV else table_export.parquet_of
    content = write(table_export.pages(serving.records, query))
    first = await asyncio.to_thread(next, content)
    ending = "csv" if media_type == table_export.CSV else "parquet"
    headers = {"content-disposition": f'attachment; filename="records.{ending}"', "vary": "accept"}
    return StreamingResponse(chain((first,), content), media_type=media_type, headers=headers)


@router.get("/records/{id}")
async def record(request: Request, record_id: RecordPath) -> dict[str, Any]:
    """What was recorded under an id, and what was recorded of it since: explanations, reviews."""
    records = serving_of(request).records
    stored = await asyncio.to_thread(records.get, record_id)
    beside = search.statement(search.Query(about=record_id, order="oldest"), search.LARGEST_PAGE)
    rows = await asyncio.to_thread(records.rows, beside)
    return {
        "sequence": stored.sequence,
        "sha256": stored.sha256,
        "record": orjson.loads(stored.body),
        "beside": [
            {name: row[name] for name in ("id", "kind", "created_at", "caller", "decision")}
            for row in map(search.shown, rows[: search.LARGEST_PAGE])
        ],
    }


@router.get("/records/{id}/payloads/{name}")
async def payload(
    request: Request, record_id: RecordPath, name: Annotated[str, Path(max_length=64)]
) -> Response:
    """An input or artifact, as it was committed to; that it was read is recorded first."""
    serving = serving_of(request)
    stored = await asyncio.to_thread(serving.records.get, record_id)
    content = await asyncio.to_thread(serving.records.payload, record_id, name)
    said = {"names": [name], "purpose": "payload"}
    read = await asyncio.to_thread(serving.recorder.about, "read", stored, caller_of(request), said)
    kinds = {one["name"]: one["media_type"] for one in orjson.loads(stored.body)["payloads"]}
    return Response(content, media_type=kinds.get(name), headers={"glassline-record-id": read})


@router.delete("/records/{id}/payloads")
async def erase(
    request: Request,
    record_id: RecordPath,
    reason: Annotated[str, Query(min_length=1, max_length=1000)],
) -> dict[str, Any]:
    """Erase a record's inputs and artifacts, those of its explanations too, and record that."""
    serving = serving_of(request)
    stored = await asyncio.to_thread(serving.records.get, record_id)
    erased = await asyncio.to_thread(erasure.reach, serving.records, stored)
    said = {"erases": erased, "reason": reason}
    done = await asyncio.to_thread(
        serving.recorder.about, "erasure", stored, caller_of(request), said
    )
    return {"record_id": record_id, "erased": erased, "erasure_id": done}


@router.post("/records/{id}/replay")
async def replay(request: Request, record_id: RecordPath) -> dict[str, Any]:
    """Compute a prediction or an explanation again and say whether the same came out."""
    return await serving_of(request).explain_queue.replay(record_id, caller_of(request))


@router.post("/records/{id}/reviews", status_code=201)
async def add_review(request: Request, record_id: RecordPath) -> dict[str, Any]:
    """Sign a record off, give another verdict, or correct it; the record stays as it is."""
    serving = serving_of(request)
    stored = await asyncio.to_thread(serving.records.get, record_id)
    if stored.kind in ("read", "replay"):
        raise Conflict(
            f"record {record_id} is of kind '{stored.kind}'; there is nothing to review."
        )
    said = review.parse(await _body(request)).model_dump()
    kind = said.pop("kind")
    review_id = await asyncio.to_thread(
        serving.recorder.about, kind, stored, caller_of(request), said
    )
    return {"review_id": review_id, "kind": kind, "record_id": record_id}


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REVIEW:
            raise TooLarge(f"review: more than {LARGEST_REVIEW} bytes; say it shorter.")
    return bytes(body)
