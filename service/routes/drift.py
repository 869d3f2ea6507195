"""Drift of a stream over HTTP: what has drifted and why it is said, as numbers or as a picture."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response

from service.routes.alarms import Act
from service.routes.negotiation import preferred
from service.routes.streams import Model, Name, Version
from service.serving import Serving

router = APIRouter(tags=["streams"])
PICTURE = "image/png"
Accept = Annotated[str, Header(include_in_schema=False)]
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {PICTURE: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/v2/models/{model}/streams/{stream}/drift", responses=RESPONSES)
async def drift(request: Request, model: Model, stream: Name, accept: Accept = "*/*") -> Response:
    """What has drifted, by how many spreads, since when, and what to do; a plot as image/png."""
    return await _told(request, model, None, stream, accept)


@router.get("/v2/models/{model}/versions/{version}/streams/{stream}/drift", responses=RESPONSES)
async def drift_version(
    request: Request, model: Model, version: Version, stream: Name, accept: Accept = "*/*"
) -> Response:
    """The same under a version of the model."""
    return await _told(request, model, version, stream, accept)


async def _told(
    request: Request, model: str, version: str | None, stream: str, accept: str
) -> Response:
    wanted = preferred(accept, ("application/json", PICTURE))
    serving: Serving = request.app.state.serving
    asked = {"what": "drift", "model": model, "version": version, "stream": stream}
    said = await serving.streams.ask(asked)
    headers = {"vary": "accept"}
    if wanted != PICTURE:
        return JSONResponse(said, headers=headers)
    # It brings matplotlib, which a process that never draws need not hold.
    from service.streaming.drift_picture import draw

    content = await asyncio.to_thread(draw, said)
    return Response(content, media_type=PICTURE, headers=headers)


@router.post("/v2/models/{model}/streams/{stream}/drift")
async def rebase_drift(request: Request, model: Model, stream: Name, said: Act) -> dict[str, Any]:
    """What is now is right: a named person has drift told from here on; recorded."""
    serving: Serving = request.app.state.serving
    asked = {
        "what": "rebase", "model": model, "version": None, "stream": stream,
        "caller": request.state.caller, **said.model_dump(),
    }  # fmt: skip
    return await serving.streams.ask(asked)
