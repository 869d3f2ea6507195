"""Drift of a stream over HTTP: what has drifted and what shows it, as numbers, plot or page."""

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
PICTURE, PAGE = "image/png", "text/html"
Accept = Annotated[str, Header(include_in_schema=False)]
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            PICTURE: {"schema": {"type": "string", "format": "binary"}},
            PAGE: {"schema": {"type": "string"}},
        }
    }
}


@router.get("/v2/models/{model}/streams/{stream}/drift", responses=RESPONSES)
async def drift(request: Request, model: Model, stream: Name, accept: Accept = "*/*") -> Response:
    """What has drifted, since when, what shows it, what to do: JSON, plot or page, by `Accept`."""
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
    wanted = preferred(accept, ("application/json", PICTURE, PAGE))
    serving: Serving = request.app.state.serving
    asked = {"what": "drift", "model": model, "version": version, "stream": stream}
    said = await serving.streams.ask(asked)
    headers = {"vary": "accept"}
    if wanted == "application/json":
        return JSONResponse(said, headers=headers)
    # They bring matplotlib, which a process that never draws need not hold.
    if wanted == PICTURE:
        from service.streaming.drift_picture import draw as drawn
    else:
        from service.streaming.drift_page import page as drawn  # type: ignore[assignment]
    content = await asyncio.to_thread(drawn, said)
    return Response(content, media_type=wanted, headers=headers)


@router.post("/v2/models/{model}/streams/{stream}/drift")
async def rebase_drift(request: Request, model: Model, stream: Name, said: Act) -> dict[str, Any]:
    """What is now is right: a named person has drift told from here on; recorded."""
    serving: Serving = request.app.state.serving
    asked = {
        "what": "rebase", "model": model, "version": None, "stream": stream,
        "caller": request.state.caller, **said.model_dump(),
    }  # fmt: skip
    return await serving.streams.ask(asked)
