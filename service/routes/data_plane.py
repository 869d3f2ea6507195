"""The hot routes: `infer` and `explain`, on bare ASGI."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.audit.recorder import RequestContext
from service.errors import InvalidParameter, MalformedBody, UnsupportedMediaType
from service.explain.parameters import ExplainParameters, parse
from service.inference.registry import LoadedModel
from service.protocol import binary_codec, json_codec, media
from service.protocol.request import InferRequest
from service.routes.exchange import JSON, Exchange
from service.routes.negotiation import EXPLANATION_TYPES, preferred
from service.serving import Serving

RECORD_HEADER = "glassline-record-id"
#: Says where the JSON ends and the binary tensors begin (Open Inference Protocol).
BINARY_HEADER = "inference-header-content-length"
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """A parsed `/v2/models/{model}[/versions/{version}]/{action}` path."""

    model: str
    version: str | None
    action: str

    @property
    def template(self) -> str:
        """The route without its values, as metrics name it."""
        middle = "/versions/{version}" if self.version is not None else ""
        return f"/v2/models/{{model}}{middle}/{self.action}"


def model_route(path: str) -> ModelRoute | None:
    """The hot route that `path` is, if it is one."""
    match path.split("/"):
        case ["", "v2", "models", model, ("infer" | "explain") as action]:
            return ModelRoute(model, None, action)
        case ["", "v2", "models", model, "versions", version, ("infer" | "explain") as action]:
            return ModelRoute(model, version, action)
    return None


class DataPlane:
    """Answers hot routes; raises errors of the tree for the application to send.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def infer(self, exchange: Exchange, model: LoadedModel, context: RequestContext) -> None:
        """Decode, predict, record, encode."""
        request = await self._decode(exchange, model)
        prediction = await self._serving.predictor.predict(model, request, context)
        start = time.perf_counter()
        answer = (model.manifest, prediction.outputs, request, {"record_id": prediction.record_id})
        headers = {RECORD_HEADER: prediction.record_id}
        if request.binary:
            body, json_size = binary_codec.encode(*answer)
            headers[BINARY_HEADER] = str(json_size)
            media_type = OCTETS
        else:
            body, media_type = json_codec.encode(*answer), JSON
        model.metrics.postprocess(time.perf_counter() - start)
        await exchange.send(200, body, media_type, headers)

    async def explain(
        self, exchange: Exchange, model: LoadedModel, context: RequestContext
    ) -> None:
        """Predict as `infer` does, then have the recorded prediction explained."""
        media_type = preferred(exchange.header(b"accept"), EXPLANATION_TYPES)
        request = await self._decode(exchange, model)
        parameters = self._explain_parameters({**request.parameters, **exchange.query()})
        if parameters.row >= request.rows:
            raise InvalidParameter(
                f"explain parameters: row: got {parameters.row}, but there are {request.rows} rows."
            )
        prediction = await self._serving.predictor.predict(model, request, context)
        await self._send_explanation(exchange, prediction.record_id, parameters, media_type)

    async def explain_record(self, exchange: Exchange, record_id: str) -> None:
        """Explain a prediction that was recorded earlier, by its id."""
        media_type = preferred(exchange.header(b"accept"), EXPLANATION_TYPES)
        body = await exchange.body(self._serving.settings.max_body_bytes)
        parameters = self._explain_parameters({**_parameters_of(body), **exchange.query()})
        await self._send_explanation(exchange, record_id, parameters, media_type)

    def _explain_parameters(self, values: Mapping[str, Any]) -> ExplainParameters:
        return parse(values, self._serving.settings.explain_max_samples)

    async def _send_explanation(
        self, exchange: Exchange, record_id: str, parameters: ExplainParameters, media_type: str
    ) -> None:
        queue = self._serving.explain_queue
        answer = await queue.explain(record_id, parameters)
        explanation_id = answer["explanation_id"]
        headers = {
            RECORD_HEADER: explanation_id,
            "content-location": f"/v2/explanations/{explanation_id}",
            "vary": "accept",
        }
        if media_type == JSON:
            await exchange.send_json(answer, headers=headers)
        else:
            body = await queue.render(explanation_id, media_type)
            await exchange.send(200, body, media_type, headers)

    async def _decode(self, exchange: Exchange, model: LoadedModel) -> InferRequest:
        settings = self._serving.settings
        body = await exchange.body(settings.max_body_bytes)
        start = time.perf_counter()
        request = self._decoded(exchange, body, model)
        model.metrics.preprocess(time.perf_counter() - start)
        return request

    def _decoded(self, exchange: Exchange, body: bytes, model: LoadedModel) -> InferRequest:
        """The body's codec: binary by its own header, else by `Content-Type`."""
        manifest, max_rows = model.manifest, self._serving.settings.max_batch_rows
        if (json_size := exchange.headers.get(BINARY_HEADER.encode())) is not None:
            size = binary_codec.header_size(json_size.decode("latin-1"), manifest.name)
            return binary_codec.decode(body, size, manifest, max_rows)
        content_type = exchange.header(b"content-type").partition(";")[0].strip().lower()
        if content_type.startswith("image/"):
            return self._decode_image(body, content_type, model)
        if content_type == OCTETS:
            return binary_codec.decode(body, 0, manifest, max_rows)
        # curl -d says x-www-form-urlencoded unless told otherwise; the body decides.
        if content_type in ("", JSON, "application/x-www-form-urlencoded") or (
            content_type.endswith("+json")
        ):
            return json_codec.decode(body, manifest, max_rows)
        raise UnsupportedMediaType(
            f"{manifest.name}: Content-Type: got '{content_type}', wanted "
            f"{', '.join((JSON, *media.content_types(manifest)))}."
        )

    def _decode_image(self, body: bytes, content_type: str, model: LoadedModel) -> InferRequest:
        manifest = model.manifest
        wanted = media.content_types(manifest)
        if manifest.media is None or content_type not in wanted:
            raise UnsupportedMediaType(
                f"{manifest.name}: Content-Type: got '{content_type}', wanted "
                f"{', '.join((JSON, *wanted))}."
            )
        pixels = media.decode_image(body, manifest.media, self._serving.settings.max_image_pixels)
        inputs: dict[str, np.ndarray[Any, Any]] = {manifest.media.input: pixels}
        return InferRequest(id=None, inputs=inputs, outputs=None, parameters={})


def _parameters_of(body: bytes) -> dict[str, Any]:
    """`parameters` of an optional JSON body."""
    if not body.strip():
        return {}
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"request body: not JSON ({error}). Send it empty, or JSON.") from None
    parameters = content.get("parameters", {}) if isinstance(content, dict) else None
    if not isinstance(parameters, dict):
        raise MalformedBody('request body: wanted {"parameters": {...}}, or nothing.')
    return parameters
