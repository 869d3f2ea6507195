"""The hot routes of the Open Inference Protocol: `infer` and `explain`, on bare ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from service.audit.recorder import RequestContext
from service.errors import InvalidParameter, MalformedBody
from service.explain.parameters import ExplainParameters, parse
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.modalities.unexplained import refuse_unexplained
from service.protocol import binary_codec, json_codec
from service.protocol.request import InferRequest
from service.routes.acting import act_decoded, act_encoded
from service.routes.bodies import BINARY_HEADER, OCTETS, infer_request, is_quick, plain_body
from service.routes.detections import detects, heat_map
from service.routes.exchange import Exchange
from service.routes.jobs import prefers_later, shown
from service.routes.negotiation import EXPLANATION_TYPES, preferred
from service.routes.reply import JSON, PNG, Reply
from service.routes.sending import RECORD_HEADER, compressed, record_said, said_of
from service.routes.task_routes import refuse_unknown, routes_of, wants_picture
from service.serving import Serving

PREDICTION_HEADER = "glassline-prediction-id"


class DataPlane:
    """Answers hot routes; raises errors of the tree for the application to send.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._settings = serving.settings

    async def infer(self, exchange: Exchange, model: LoadedModel, context: RequestContext) -> None:
        """Decode, predict, record, encode."""
        request = await infer_request(exchange, model, self._settings)
        refuse_unknown(request, model.manifest)
        seen = is_drawn(model) and wants_picture(exchange.header(b"accept"))
        # A picture is for somebody who looks at it, not for a line that waits.
        prediction = await self._serving.predictor.answer(model, request, context, hurries=not seen)
        own = routes_of(model.manifest)
        if seen:
            draw = partial(heat_map, model, request) if own is None else own.picture
            headers = {**record_said(prediction.record_id)[0], "vary": "accept"}
            picture = await asyncio.to_thread(draw, prediction)
            await exchange.reply(Reply(picture, PNG, headers))
            return
        await exchange.reply(encoded(exchange.headers, model, request, prediction))

    async def act(self, exchange: Exchange, model: LoadedModel, context: RequestContext) -> None:
        """Decode states, decide, record, encode."""
        body = await plain_body(exchange, self._settings)
        asked = partial(act_decoded, exchange.headers, body, model, self._settings)
        quick = is_quick(exchange.headers, body)
        request = asked() if quick else await asyncio.to_thread(asked)
        prediction = await self._serving.predictor.answer(model, request, context)
        await exchange.reply(act_encoded(exchange.headers, model, request, prediction))

    async def explain(
        self, exchange: Exchange, model: LoadedModel, context: RequestContext
    ) -> None:
        """Predict as `infer` does, then have the recorded prediction explained."""
        media_type = preferred(exchange.header(b"accept"), EXPLANATION_TYPES)
        record_id, parameters = await self._predicted(exchange, model, context)
        await self._explain(exchange, record_id, parameters, media_type, context.caller)

    async def explained(
        self,
        exchange: Exchange,
        model: LoadedModel,
        context: RequestContext,
        *,
        version_1: bool = False,
    ) -> dict[str, Any]:
        """The explanation that the request asks for, as JSON."""
        record_id, parameters = await self._predicted(exchange, model, context, version_1=version_1)
        return await self._serving.explain_queue.explain(record_id, parameters)

    async def _predicted(
        self,
        exchange: Exchange,
        model: LoadedModel,
        context: RequestContext,
        *,
        version_1: bool = False,
    ) -> tuple[str, ExplainParameters]:
        """Predict and record; the record's id, and how it is to be explained."""
        refuse_unexplained(model.manifest)
        request = await infer_request(exchange, model, self._settings, version_1=version_1)
        given = {**request.parameters, **exchange.query()}
        own = routes_of(model.manifest)
        if own is not None:
            given = {name: value for name, value in given.items() if name not in own.names}
        parameters = self._explain_parameters(given)
        if parameters.row >= request.rows:
            raise InvalidParameter(
                f"explain parameters: row: got {parameters.row}, but there are {request.rows} rows."
            )
        record_id, _ = await self._serving.predictor.predict(model, request, context)
        return record_id, parameters

    async def explain_record(self, exchange: Exchange, record_id: str, caller: str) -> None:
        """Explain a prediction that was recorded earlier, by its id."""
        media_type = preferred(exchange.header(b"accept"), EXPLANATION_TYPES)
        body = await plain_body(exchange, self._settings)
        parameters = self._explain_parameters({**_parameters_of(body), **exchange.query()})
        await self._explain(exchange, record_id, parameters, media_type, caller)

    async def _explain(
        self,
        exchange: Exchange,
        record_id: str,
        parameters: ExplainParameters,
        media_type: str,
        caller: str,
    ) -> None:
        """Explain a record now, or accept it for later where the client prefers that."""
        if prefers_later(exchange.header(b"prefer")):
            await self._accept(exchange, record_id, parameters, caller)
        else:
            answer = await self._serving.explain_queue.explain(record_id, parameters)
            await self._send_explanation(exchange, answer, media_type, record_id)

    async def _accept(
        self, exchange: Exchange, record_id: str, parameters: ExplainParameters, caller: str
    ) -> None:
        await asyncio.to_thread(
            self._serving.records.get, record_id
        )  # known, before it is accepted
        job = await asyncio.to_thread(
            self._serving.jobs.accept, record_id, parameters.model_dump(mode="json"), caller
        )
        headers = {
            "location": f"/v2/jobs/{job.id}",
            "preference-applied": "respond-async",
            "retry-after": "1",
        }
        await exchange.send_json(shown(job), 202, headers)

    def _explain_parameters(self, values: Mapping[str, Any]) -> ExplainParameters:
        return parse(values, self._settings.explain_max_samples)

    async def _send_explanation(
        self, exchange: Exchange, answer: dict[str, Any], media_type: str, record_id: str
    ) -> None:
        explanation_id = answer["explanation_id"]
        headers = {
            RECORD_HEADER: explanation_id,
            # Not always the one in the answer: identical requests share one explanation.
            PREDICTION_HEADER: record_id,
            "content-location": f"/v2/explanations/{explanation_id}",
            "vary": "accept",
        }
        if media_type == JSON:
            await exchange.send_json(answer, headers=headers)
        else:
            body = await self._serving.explain_queue.render(explanation_id, media_type)
            await exchange.send(200, body, media_type, headers)


def is_drawn(model: LoadedModel) -> bool:
    """Whether an answer of the model can be had as a picture."""
    return routes_of(model.manifest) is not None or detects(model)


def encoded(
    asked: Mapping[bytes, bytes], model: LoadedModel, request: InferRequest, prediction: Prediction
) -> Reply:
    """The answer to `infer` in the form that was asked for.

    Args:
        asked: the request's headers, names in lower case.
        model: the model that answered.
        request: what it was asked.
        prediction: what it answered.

    Raises:
        TensorMismatch: an output cannot go in the form asked for.
    """
    start = time.perf_counter()
    headers, parameters = said_of(prediction)
    if prediction.late is not None and prediction.late.fail_safe is not None:
        request = request.among(prediction.outputs)  # there is nothing but the decision
    if request.binary:
        body, json_size = binary_codec.encode(
            model.manifest, prediction.outputs, request, parameters
        )
        headers[BINARY_HEADER] = str(json_size)
        media_type = OCTETS
    else:
        body = json_codec.encode(model.manifest, prediction.outputs, request, parameters)
        media_type = JSON
    body = compressed(asked, body, headers)
    model.metrics.postprocess(time.perf_counter() - start)
    return Reply(body, media_type, headers)


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
