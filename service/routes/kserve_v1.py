"""KServe's V1 protocol, `:predict` and `:explain`, on the same rooms as V2."""

from __future__ import annotations

from service.audit.recorder import RequestContext
from service.inference.registry import LoadedModel
from service.protocol.v1 import predictions
from service.routes.bodies import infer_request
from service.routes.data_plane import DataPlane
from service.routes.exchange import Exchange
from service.routes.sending import RECORD_HEADER, said_of
from service.routes.task_routes import refuse_unknown
from service.serving import Serving


class KServeV1:
    """Answers V1 routes.

    Args:
        serving: the worker's state.
        plane: explains.
    """

    def __init__(self, serving: Serving, plane: DataPlane) -> None:
        self._serving = serving
        self._plane = plane

    async def predict(
        self, exchange: Exchange, model: LoadedModel, context: RequestContext
    ) -> None:
        """One object of output name to value for each instance."""
        request = await infer_request(exchange, model, self._serving.settings, version_1=True)
        refuse_unknown(request, model.manifest)
        prediction = await self._serving.predictor.answer(model, request, context)
        headers, said = said_of(prediction)
        # There is no way to ask for those that are sent to whoever names them.
        large = model.manifest.on_request
        sent = {name: one for name, one in prediction.outputs.items() if name not in large}
        content = {"predictions": predictions(sent), **said}
        await exchange.send_json(content, headers=headers)

    async def explain(
        self, exchange: Exchange, model: LoadedModel, context: RequestContext
    ) -> None:
        """The explanation of one instance, as V2 has it."""
        answer = await self._plane.explained(exchange, model, context, version_1=True)
        headers = {RECORD_HEADER: answer["explanation_id"]}
        await exchange.send_json({"explanations": [answer]}, headers=headers)
