"""`similar`: the nearest of earlier parts, by the model's own vector."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.audit.recorder import RequestContext
from service.errors import Conflict, InvalidParameter
from service.inference.gallery import Neighbours, VectorGallery
from service.inference.registry import LoadedModel
from service.routes.bodies import FORM, plain_body, request_of
from service.routes.exchange import Exchange
from service.routes.reply import JSON
from service.routes.sending import record_said
from service.serving import Serving

#: Neighbours of a row where nobody says how many, and at most.
USUAL, MOST = 5, 1000


class Similar:
    """Answers the route.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def answer(self, exchange: Exchange, model: LoadedModel, context: RequestContext) -> None:
        """Predict and record as `infer` does, or take a record's vector; then search.

        Raises:
            Conflict: the model has no gallery, or the record no vector of its graph.
            InvalidParameter: k is out of range.
        """
        gallery = _gallery_of(model)
        settings = self._serving.settings
        body = await plain_body(exchange, settings)
        asked = _about_record(exchange, body)
        if asked is None:
            request = await request_of(exchange, body, model, settings)
            k = _k({**request.parameters, **exchange.query()}, model)
            # A fail-safe has no vector.
            prediction = await self._serving.predictor.answer(
                model, request, context, hurries=False
            )
            record_id, vectors = prediction.record_id, prediction.outputs[gallery.about.output]
        else:
            record_id, parameters = asked
            k = _k({**parameters, **exchange.query()}, model)
            vectors = await asyncio.to_thread(self._recorded, record_id, model, gallery)
        found = await asyncio.to_thread(gallery.search, vectors, k)
        headers, said = record_said(record_id)
        content = {
            "model_name": model.manifest.name,
            "model_version": model.manifest.version,
            "parameters": said,
            "metric": gallery.about.metric,
            "exact": gallery.exact,
            "gallery": gallery.about.count,
            "rows": [_row(one, gallery.about.records) for one in found],
        }
        await exchange.send_json(content, headers=headers)

    def _recorded(self, record_id: str, model: LoadedModel, gallery: VectorGallery) -> NDArray[Any]:
        """The vectors that stand in a record; they were computed when it was made."""
        body = orjson.loads(self._serving.records.get(record_id).body)
        made = body.get("model", {}).get("graphs", {}).get("predict")
        stored = {one["name"]: one for one in body.get("outputs", ())}.get(gallery.about.output)
        if made != gallery.about.graph or stored is None or "base64" not in stored:
            raise Conflict(
                f"{model.manifest.reference}: record {record_id} holds no vector of this model's "
                "graph. Send the input itself."
            )
        raw = base64.b64decode(stored["base64"])
        return np.frombuffer(raw, "<f4").reshape(stored["shape"])


def _gallery_of(model: LoadedModel) -> VectorGallery:
    if model.gallery is None:
        raise Conflict(
            f"{model.manifest.reference} has no gallery. Build one: glassline models gallery "
            f"{model.manifest.name} --data FOLDER"
        )
    return model.gallery


def _about_record(exchange: Exchange, body: bytes) -> tuple[str, Mapping[str, Any]] | None:
    """The record that is asked about, and the parameters; None where an input was sent."""
    kind = exchange.header(b"content-type").partition(";")[0].strip().lower()
    if kind not in ("", JSON, FORM) or b'"record"' not in body:
        return None
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # the codec says what is wrong with it
    if not isinstance(content, dict) or "record" not in content or "inputs" in content:
        return None
    record, parameters = content["record"], content.get("parameters", {})
    if not isinstance(record, str) or not isinstance(parameters, dict):
        raise InvalidParameter(
            'similar: wanted {"record": "ID", "parameters": {"k": 5}}, or a body as for infer.'
        )
    return record, parameters


def _k(parameters: Mapping[str, Any], model: LoadedModel) -> int:
    k = parameters.get("k", USUAL)
    try:
        number = int(k) if not isinstance(k, (bool, float)) else 0
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= MOST:
        raise InvalidParameter(
            f"{model.manifest.reference}: parameters: k: got {k!r:.40}, wanted 1 to {MOST}."
        )
    return number


def _row(found: Neighbours, records: bool) -> dict[str, Any]:
    neighbours: list[dict[str, Any]] = []
    for name, distance in zip(found.ids, found.distances, strict=True):
        one: dict[str, Any] = {"id": name, "distance": distance}
        if records:
            record, _, row = name.partition("#")
            one |= {"record": f"/audit/records/{record}", "row": int(row or 0)}
        neighbours.append(one)
    return {"neighbours": neighbours}
