"""Routes that are asked for now and then: metadata, health, explanations, records, docs.

They run on FastAPI, which also writes the OpenAPI document; the hot routes are in
`data_plane.py` and are added to the document by `openapi.py`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, Header, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from service import __version__, metrics
from service.errors import GlasslineError, Unavailable
from service.inference.statistics import model_statistics
from service.protocol.metadata import model_metadata, server_metadata
from service.routes import alarms, audit, drift, evidence, log, model_pages, openapi, streams
from service.routes.audit import RecordPath
from service.routes.jobs import shown
from service.routes.negotiation import EXPLANATION_TYPES, preferred
from service.routes.paths import hot_route
from service.routes.status import error_body, error_headers, status_of
from service.serving import Serving

router = APIRouter()
#: Routes of other modules.
_OTHERS = (
    alarms.router, audit.router, drift.router, evidence.router, log.router, model_pages.router,
    streams.router,
)  # fmt: skip
ModelPath = Annotated[str, Path(alias="model", description="Model name.", max_length=63)]
VersionPath = Annotated[str, Path(alias="version", description="Model version.", max_length=9)]
JobPath = Annotated[str, Path(alias="id", description="Job id.", max_length=64)]


class TensorJSON(JSONResponse):
    """JSON through orjson: refuses NaN, and is fast on long lists."""

    def render(self, content: Any) -> bytes:
        """Serialise; see `orjson.dumps`."""
        return orjson.dumps(content)


def control_app(serving: Serving) -> FastAPI:
    """The FastAPI application of all control routes.

    Args:
        serving: the worker's state; read at each request.
    """
    app = FastAPIOffline(
        redoc_url=None,
        title="Glassline",
        version=__version__,
        summary="Every answer explained, every explanation proved.",
        default_response_class=TensorJSON,
        responses=openapi.ERROR_RESPONSES,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.serving = serving
    app.include_router(router)
    for part in _OTHERS:
        app.include_router(part)
    app.add_exception_handler(GlasslineError, _glassline_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """To the documentation, until there is a console."""
    return RedirectResponse("/docs", status_code=307)


@router.get("/livez", tags=["operations"], response_class=PlainTextResponse)
async def livez() -> str:
    """This process answers."""
    return "live\n"


@router.get("/readyz", tags=["operations"], response_class=PlainTextResponse)
async def readyz(request: Request) -> str:
    """Every released model that is not refused is loaded, and records can be written."""
    _serving(request).check_ready()
    return "ready\n"


@router.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
async def prometheus_metrics() -> Response:
    """Prometheus metrics of all worker processes."""
    body, media_type = await asyncio.to_thread(metrics.exposition)
    return Response(body, headers={"content-type": media_type})


@router.get("/v2", tags=["open inference protocol"])
@router.get("/v2/", include_in_schema=False)
async def server() -> dict[str, Any]:
    """Server name, version and protocol extensions."""
    return server_metadata(__version__)


@router.get("/v2/health/live", tags=["open inference protocol"])
async def health_live() -> dict[str, bool]:
    """This process answers."""
    return {"live": True}


@router.get(
    "/v2/health/ready", tags=["open inference protocol"], responses={503: openapi.NOT_READY}
)
async def health_ready(request: Request) -> TensorJSON:
    """Whether `infer` can be asked for; 503 with the reason when not."""
    try:
        _serving(request).check_ready()
    except Unavailable as error:
        return TensorJSON({"live": True, "ready": False, "error": str(error)}, 503)
    return TensorJSON({"live": True, "ready": True})


@router.post("/v2/repository/index", tags=["model repository"])
async def repository_index(request: Request) -> list[dict[str, str]]:
    """Every stored model version and whether it is loaded (Triton's repository extension)."""
    registry = _serving(request).registry
    return await asyncio.to_thread(registry.index)


@router.post("/v2/repository/models/{model}/load", tags=["model repository"])
async def load_model(request: Request, model: ModelPath) -> dict[str, Any]:
    """Serve the newest stored version; it is loaded and warm when this answers."""
    serving = _serving(request)
    await asyncio.to_thread(serving.repository.load, model)
    await serving.follow_now()
    await serving.model(model, None)
    return {}


@router.post("/v2/repository/models/{model}/unload", tags=["model repository"])
async def unload_model(request: Request, model: ModelPath) -> dict[str, Any]:
    """Serve no version any more; requests that run are finished."""
    serving = _serving(request)
    await asyncio.to_thread(serving.repository.unload, model)
    await serving.follow_now()
    return {}


@router.get("/v2/models/stats", tags=["model repository"])
async def all_statistics() -> dict[str, Any]:
    """What all models have done since the start (Triton's statistics extension)."""
    return await asyncio.to_thread(model_statistics)


@router.get("/v2/models/{model}/stats", tags=["model repository"])
async def statistics(request: Request, model: ModelPath) -> dict[str, Any]:
    """What a model has done since the start, each of its versions."""
    await _serving(request).model(model, None)
    return await asyncio.to_thread(model_statistics, model)


@router.get("/v2/models/{model}/versions/{version}/stats", tags=["model repository"])
async def version_statistics(
    request: Request, model: ModelPath, version: VersionPath
) -> dict[str, Any]:
    """What a model version has done since the start."""
    loaded = await _serving(request).model(model, version)
    return await asyncio.to_thread(model_statistics, model, loaded.manifest.version)


@router.get("/v2/models/{model}", tags=["open inference protocol"])
async def model_info(request: Request, model: ModelPath) -> dict[str, Any]:
    """Inputs, outputs and versions of a model; its newest version."""
    return await _metadata(request, model, None)


@router.get("/v2/models/{model}/versions/{version}", tags=["open inference protocol"])
async def version_info(request: Request, model: ModelPath, version: VersionPath) -> dict[str, Any]:
    """Inputs, outputs and versions of a model version."""
    return await _metadata(request, model, version)


async def _metadata(request: Request, model: str, version: str | None) -> dict[str, Any]:
    serving = _serving(request)
    loaded = await serving.model(model, version)
    versions = await asyncio.to_thread(serving.registry.versions, model)
    return model_metadata(loaded.manifest, versions)


@router.get("/v2/models/{model}/ready", tags=["open inference protocol"])
async def model_ready(request: Request, model: ModelPath) -> dict[str, Any]:
    """Whether the newest version of a model answers; 503 with the reason when not."""
    loaded = await _serving(request).model(model, None)
    return {"name": model, "version": loaded.manifest.version, "ready": True}


@router.get("/v2/models/{model}/versions/{version}/ready", tags=["open inference protocol"])
async def version_ready(request: Request, model: ModelPath, version: VersionPath) -> dict[str, Any]:
    """Whether a model version answers; 503 with the reason when not."""
    loaded = await _serving(request).model(model, version)
    return {"name": model, "version": loaded.manifest.version, "ready": True}


@router.get(
    "/v2/explanations/{id}",
    tags=["explanations"],
    responses={200: {"content": {t: {} for t in EXPLANATION_TYPES}}},
)
async def explanation(
    request: Request,
    record_id: RecordPath,
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
) -> Response:
    """An explanation as JSON, as a PNG overlay or as an HTML report, by `Accept`.

    It shows what was explained: that it was read is recorded before it is answered.
    """
    media_type = preferred(accept, EXPLANATION_TYPES)
    serving = _serving(request)
    body = await serving.explain_queue.render(record_id, media_type)
    await asyncio.to_thread(_note_read, serving, record_id, request.state.caller)
    return Response(body, media_type=media_type, headers={"vary": "accept"})


def _note_read(serving: Serving, explanation_id: str, caller: str) -> None:
    stored = serving.records.get(explanation_id)
    names = [one["name"] for one in orjson.loads(stored.body)["payloads"]]
    serving.recorder.about("read", stored, caller, {"names": names, "purpose": "explanation"})


@router.get("/v2/jobs/{id}", tags=["explanations"])
async def job(request: Request, job_id: JobPath) -> dict[str, Any]:
    """How far an explanation is that was accepted for later, and where it is once it is done."""
    return shown(await asyncio.to_thread(_serving(request).jobs.get, job_id))


@router.delete("/v2/jobs/{id}", tags=["explanations"])
async def cancel_job(request: Request, job_id: JobPath) -> dict[str, Any]:
    """Take an accepted explanation back; 409 when it is over already."""
    return shown(await asyncio.to_thread(_serving(request).jobs.cancel, job_id))


async def _glassline_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, GlasslineError)
    return Response(
        error_body(str(error)),
        status_of(error),
        {"content-type": "application/json", **error_headers(error)},
    )


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = "; ".join(
        f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}"
        + ("" if e["type"] == "missing" else f", got {e['input']!r:.60}")
        for e in error.errors()
    )
    said = error_body(f"{problems}. GET /docs says what is wanted here.")
    return Response(said, 400, {"content-type": "application/json"})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: f"no route {request.url.path}; GET /docs lists them all.",
        405: f"{request.method} is not allowed on {request.url.path}; GET /docs lists what is.",
    }
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    headers["content-type"] = "application/json"
    if error.status_code == 405:  # the framework names the first route's methods alone
        headers["allow"] = ", ".join(sorted(_methods(request)))
    message = messages.get(error.status_code, str(error.detail))
    return Response(error_body(message), error.status_code, headers)


def _methods(request: Request) -> set[str]:
    """The methods of all routes that this path matches."""
    matching = (
        route
        for one in (router, *_OTHERS)
        for route in one.routes
        if isinstance(route, APIRoute) and route.path_regex.match(request.url.path)
    )
    allowed = {method for route in matching for method in route.methods or ()}
    return allowed | ({"POST"} if hot_route(request.url.path) else set())
