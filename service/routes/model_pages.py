"""The evaluation page of a model, for browsers."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import Response

from service.model_page import ROLES, model_page
from service.routes.negotiation import preferred
from service.serving import Serving

router = APIRouter()
ModelPath = Annotated[str, Path(alias="model", description="Model name.", max_length=63)]
VersionPath = Annotated[str, Path(alias="version", description="Model version.", max_length=9)]
Accept = Annotated[str, Header(include_in_schema=False)]
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The page.", "content": {media_type: {} for media_type in ROLES}}
}


@router.get("/v2/models/{model}/page", tags=["model repository"], responses=_ANSWER)
async def page(request: Request, model: ModelPath, accept: Accept = "*/*") -> Response:
    """What was measured on a model's test rows: a page, or its figures as PNG, by `Accept`."""
    return await _page(request, model, None, accept)


@router.get(
    "/v2/models/{model}/versions/{version}/page", tags=["model repository"], responses=_ANSWER
)
async def version_page(
    request: Request, model: ModelPath, version: VersionPath, accept: Accept = "*/*"
) -> Response:
    """What was measured on the test rows of a model version; as `page`."""
    return await _page(request, model, version, accept)


async def _page(request: Request, model: str, version: str | None, accept: str) -> Response:
    media_type = preferred(accept, tuple(ROLES))
    serving: Serving = request.app.state.serving
    loaded = await serving.model(model, version)
    body = await asyncio.to_thread(model_page, loaded.stored, media_type)
    return Response(body, media_type=media_type, headers={"vary": "accept"})
