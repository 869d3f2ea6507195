"""`act` over HTTP: bodies to states, decisions to bodies."""

from __future__ import annotations

import time
from collections.abc import Mapping

from service.errors import UnsupportedMediaType
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.protocol import actions
from service.protocol.request import InferRequest
from service.routes.bodies import JSON_TYPES
from service.routes.reply import JSON, Reply
from service.routes.sending import compressed, said_of
from service.settings import Settings


def act_decoded(
    headers: Mapping[bytes, bytes], body: bytes, model: LoadedModel, settings: Settings
) -> InferRequest:
    """The states of a body that has arrived.

    Raises:
        InvalidRequest: whatever is wrong with it.
    """
    start = time.perf_counter()
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    content_type = content_type.partition(";")[0].strip().lower()
    if content_type not in JSON_TYPES and not content_type.endswith("+json"):
        raise UnsupportedMediaType(
            f"{model.manifest.name}: Content-Type: got '{content_type}', wanted {JSON}."
        )
    request = actions.decode(body, model.manifest, settings.max_batch_rows)
    request.inputs = model.admit(request.inputs)
    model.metrics.preprocess(time.perf_counter() - start)
    return request


def act_encoded(
    asked: Mapping[bytes, bytes], model: LoadedModel, request: InferRequest, prediction: Prediction
) -> Reply:
    """What to do, as JSON; arguments as for `encoded`.

    Raises:
        TensorMismatch: a preference is no finite number.
    """
    start = time.perf_counter()
    headers, parameters = said_of(prediction)
    body = actions.encode(model.manifest, prediction.outputs, request, parameters)
    body = compressed(asked, body, headers)
    model.metrics.postprocess(time.perf_counter() - start)
    return Reply(body, JSON, headers)
