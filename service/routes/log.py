"""Routes of those who check the log: checkpoint, keys, proofs, and what witnesses say."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response

from service.audit.checkpoint import MAX_NOTE_BYTES, Checkpoint, SignedNote
from service.audit.log import AuditLog
from service.audit.vouching import take_cosigned
from service.errors import InvalidParameter, TooLarge
from service.serving import Serving

router = APIRouter(prefix="/audit", tags=["audit"])
#: Databases count to 2**63.
_Place = Annotated[int | None, Query(ge=0, lt=1 << 63)]
_NOTE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}
_NONE: dict[int | str, dict[str, Any]] = {204: {"description": "Nobody has signed one yet."}}


def _log(request: Request) -> AuditLog:
    serving: Serving = request.app.state.serving
    return AuditLog(serving.records)


@router.get("/checkpoint", responses=_NOTE, response_class=PlainTextResponse)
async def checkpoint(request: Request) -> Response:
    """The log's newest checkpoint, a C2SP signed note: its size and root commit to every record."""
    note = await asyncio.to_thread(_log(request).checkpoint)
    return PlainTextResponse(str(note), headers={"cache-control": "no-store"})


@router.get("/checkpoint/cosigned", responses=_NOTE | _NONE, response_class=PlainTextResponse)
async def cosigned(request: Request) -> Response:
    """The newest checkpoint that a witness has cosigned; 204 where none has been."""
    note = await asyncio.to_thread(_log(request).cosigned)
    return Response(status_code=204) if note is None else PlainTextResponse(str(note))


@router.get("/checkpoint/timestamp", responses=_NONE)
async def timestamp(request: Request) -> Response:
    """The newest checkpoint that an authority has stamped (RFC 3161); 204 where none has."""
    found = await asyncio.to_thread(_log(request).stamped)
    if found is None:
        return Response(status_code=204)
    note, token = found
    said = {"checkpoint": str(note), "stamped": note.text, "timestamp_response": _text(token)}
    return Response(orjson.dumps(said), media_type="application/json")


@router.get("/keys")
async def keys(request: Request) -> Response:
    """The log's public keys, up to which size each counts, and its witnesses."""
    found = await asyncio.to_thread(_log(request).keys)
    return Response(found.to_json(), media_type="application/json")


@router.get("/proof/inclusion")
async def inclusion(
    request: Request,
    record_id: Annotated[str | None, Query(alias="id", max_length=64)] = None,
    index: _Place = None,
    size: _Place = None,
) -> dict[str, Any]:
    """What leads from a record, by id or place, to the root of the first `size` (RFC 9162)."""
    if (record_id is None) == (index is None):
        raise InvalidParameter("inclusion proof: wanted either id or index, and perhaps size.")
    log = _log(request)

    def proof() -> dict[str, Any]:
        place = log.index(record_id) if record_id is not None else index
        assert place is not None  # one of the two was given
        of = log.size() if size is None else size
        path, root = log.inclusion(place, of), log.root(of)
        return {"leaf_index": place, "tree_size": of, "root": _text(root), "path": _texts(path)}

    return await asyncio.to_thread(proof)


@router.get("/proof/consistency")
async def consistency(
    request: Request,
    old: Annotated[int, Query(alias="from", ge=0, lt=1 << 63)],
    new: Annotated[int | None, Query(alias="to", ge=0, lt=1 << 63)] = None,
) -> dict[str, Any]:
    """What shows that the log of size `to` continues that of size `from` (RFC 9162)."""
    log = _log(request)

    def proof() -> dict[str, Any]:
        to = log.size() if new is None else new
        path = log.consistency(old, to)
        roots = {"from_root": _text(log.root(old)), "to_root": _text(log.root(to))}
        return {"from": old, "to": to, **roots, "path": _texts(path)}

    return await asyncio.to_thread(proof)


@router.post("/cosignatures", responses=_NOTE, response_class=PlainTextResponse)
async def take(request: Request) -> Response:
    """Take a checkpoint that a witness of this log has cosigned; the body is the note."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_NOTE_BYTES:
            raise TooLarge(f"cosignature: more than {MAX_NOTE_BYTES} bytes are no note.")
    note = SignedNote.parse(bytes(body))
    Checkpoint.parse(note.text)
    serving: Serving = request.app.state.serving
    kept = await asyncio.to_thread(take_cosigned, serving.records, note)
    return PlainTextResponse(str(kept))


def _text(node: bytes) -> str:
    return base64.b64encode(node).decode("ascii")


def _texts(nodes: list[bytes]) -> list[str]:
    return [_text(node) for node in nodes]
