"""Streams over HTTP: rows on the hot path, all else beside the other control routes."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from service.anomaly.stream_config import StreamConfig
from service.errors import InvalidParameter, MalformedBody, TooLarge
from service.protocol.stream_rows import stream_name
from service.routes.bodies import plain_body
from service.routes.exchange import Exchange
from service.serving import Serving

router = APIRouter(tags=["streams"])
Model = Annotated[str, Path(description="Model name.", max_length=63)]
Version = Annotated[str, Path(description="Model version.", max_length=9)]
Name = Annotated[str, Path(description="Stream, LINE.GROUP.", max_length=128)]
STATE = "application/octet-stream"
_SETTINGS: Final = {
    "requestBody": {"content": {"application/json": {"schema": StreamConfig.model_json_schema()}}}
}
_STATE: Final = {
    "requestBody": {
        "required": True,
        "content": {STATE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class StreamPlane:
    """Takes rows.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def rows(
        self, exchange: Exchange, model: str, version: str | None, stream: str | None
    ) -> None:
        """Rows of one stream, or of many where each row names its own; answered once durable."""
        if stream is not None:
            stream_name(stream)
        historical = _history(exchange.query())
        loaded = await self._serving.model(model, version)
        exchange.model = (loaded.manifest.name, loaded.manifest.version)
        body = await plain_body(exchange, self._serving.settings)
        asked = {
            "what": "rows",
            "model": exchange.model[0],
            "version": exchange.model[1],
            "stream": stream,
            "content_type": exchange.header(b"content-type"),
            "historical": historical,
        }
        said = await self._serving.streams.rows(asked, body, loaded, exchange.arrived)
        await exchange.send_json(said)


def _history(query: dict[str, str]) -> bool:
    unknown = query.keys() - {"is_historical"}
    said = query.get("is_historical", "false").lower()
    if unknown or said not in ("true", "false"):
        raise InvalidParameter(
            f"query: got {', '.join(sorted(unknown)) or said!r:.60}, wanted is_historical=true or "
            "false, or nothing."
        )
    return said == "true"


async def _ask(
    request: Request, what: str, model: str, version: str | None, stream: str | None,
    body: bytes = b"", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    serving: Serving = request.app.state.serving
    caller = getattr(request.state, "caller", "local")
    asked = {"what": what, "model": model, "version": version, "stream": stream, "caller": caller}
    return await serving.streams.ask({**asked, **more}, body)


async def _settings(request: Request) -> Any:
    try:
        return orjson.loads(await _body(request) or b"{}")
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"stream settings: not JSON ({error}).") from None


async def _body(request: Request) -> bytes:
    limit = request.app.state.serving.settings.max_body_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"stream: more than {limit} bytes. Raise GLASSLINE_MAX_BODY_BYTES.")
    return bytes(body)


@router.get("/v2/models/{model}/streams")
async def streams(request: Request, model: Model) -> dict[str, Any]:
    """The streams of a model: names, versions, whether in alarm, last row."""
    return await _ask(request, "list", model, None, None)


@router.get("/v2/models/{model}/versions/{version}/streams")
async def streams_version(request: Request, model: Model, version: Version) -> dict[str, Any]:
    """The streams of a version of a model."""
    return await _ask(request, "list", model, version, None)


@router.get("/v2/models/{model}/streams/{stream}")
async def stream_info(request: Request, model: Model, stream: Name) -> dict[str, Any]:
    """State of a stream: budget, realised rate, warm-up, alarm, counts, last row."""
    return await _ask(request, "describe", model, None, stream)


@router.get("/v2/models/{model}/versions/{version}/streams/{stream}")
async def stream_info_version(
    request: Request, model: Model, version: Version, stream: Name
) -> dict[str, Any]:
    """State of a stream under a version of the model."""
    return await _ask(request, "describe", model, version, stream)


@router.put("/v2/models/{model}/streams/{stream}", openapi_extra=_SETTINGS)
async def configure_stream(request: Request, model: Model, stream: Name) -> dict[str, Any]:
    """All settings of a stream: budget, delays, lateness, ranges of sensors; others are defaults.

    A stream that has rows keeps its calibration, or the change is refused. It is recorded.
    """
    said = await _settings(request)
    return await _ask(request, "configure", model, None, stream, config=said)


@router.put("/v2/models/{model}/versions/{version}/streams/{stream}", openapi_extra=_SETTINGS)
async def configure_stream_version(
    request: Request, model: Model, version: Version, stream: Name
) -> dict[str, Any]:
    """All settings of a stream under a version of the model."""
    said = await _settings(request)
    return await _ask(request, "configure", model, version, stream, config=said)


@router.patch("/v2/models/{model}/streams/{stream}", openapi_extra=_SETTINGS)
async def change_stream(request: Request, model: Model, stream: Name) -> dict[str, Any]:
    """Some settings of a stream that has begun; the others stay, and so does its calibration."""
    said = await _settings(request)
    return await _ask(request, "change", model, None, stream, config=said)


@router.patch("/v2/models/{model}/versions/{version}/streams/{stream}", openapi_extra=_SETTINGS)
async def change_stream_version(
    request: Request, model: Model, version: Version, stream: Name
) -> dict[str, Any]:
    """Some settings of a stream under a version of the model; the others stay."""
    said = await _settings(request)
    return await _ask(request, "change", model, version, stream, config=said)


@router.delete("/v2/models/{model}/streams/{stream}")
async def forget_stream(request: Request, model: Model, stream: Name) -> dict[str, Any]:
    """Forget a stream's state; that it was is recorded, and its alarms stay in the log."""
    return await _ask(request, "forget", model, None, stream)


@router.delete("/v2/models/{model}/versions/{version}/streams/{stream}")
async def forget_stream_version(
    request: Request, model: Model, version: Version, stream: Name
) -> dict[str, Any]:
    """Forget a stream's state under a version of the model."""
    return await _ask(request, "forget", model, version, stream)


@router.get(
    "/v2/models/{model}/versions/{version}/streams/{stream}/state",
    response_class=Response,
    responses={200: {"content": {STATE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export_stream(request: Request, model: Model, version: Version, stream: Name) -> Response:
    """A stream's whole state as bytes, to go on elsewhere bit for bit."""
    said = await _ask(request, "export", model, version, stream)
    return Response(base64.b64decode(said["state"]), media_type=STATE)


@router.put("/v2/models/{model}/versions/{version}/streams/{stream}/state", openapi_extra=_STATE)
async def import_stream(
    request: Request, model: Model, version: Version, stream: Name
) -> dict[str, Any]:
    """Go on with a stream whose state was exported elsewhere; it must not be here."""
    body = await _body(request)
    return await _ask(request, "import", model, version, stream, body)
