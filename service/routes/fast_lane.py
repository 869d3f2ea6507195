"""Quick answers in one call: no coroutine, no task, no waiting but for the record.

An inference request that has arrived whole, for a loaded model whose graph is quick, needs
nothing that an event loop offers. Whatever else may be asked goes over the ASGI
application, which shares every check and every codec with this lane; `take` says which.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from service import metrics
from service.audit.recorder import RequestContext
from service.errors import GlasslineError, Unavailable
from service.inference.predictor import Prediction, is_quick
from service.inference.registry import LoadedModel
from service.protocol.request import InferRequest
from service.routes import bodies
from service.routes.acting import act_decoded, act_encoded
from service.routes.data_plane import encoded, is_drawn
from service.routes.gate import Gate
from service.routes.headers import request_id, trace_id
from service.routes.paths import HotRoute, hot_route
from service.routes.reply import Reply
from service.routes.status import error_body, refused
from service.routes.task_routes import routes_of, wants_picture
from service.serving import Serving
from service.settings import Settings

#: Takes the answer and the request id, now or once its record is durable; on the event loop.
Respond = Callable[[Reply, str], None]
Header = tuple[bytes, bytes]
#: Their presence means more than this lane does: inflating a body, or believing a proxy.
_FOR_THE_OTHER = frozenset({b"content-encoding", b"x-forwarded-for", b"x-forwarded-proto"})
Decode = Callable[[Mapping[bytes, bytes], bytes, LoadedModel, Settings], InferRequest]
Encode = Callable[[Mapping[bytes, bytes], LoadedModel, InferRequest, Prediction], Reply]
#: What this lane answers, and the two ends of each.
_CODECS: dict[str, tuple[Decode, Encode]] = {
    "infer": (bodies.decoded, encoded),
    "act": (act_decoded, act_encoded),
}
_log = logging.getLogger("glassline.http")


class FastLane:
    """Answers what can be answered at once.

    Args:
        serving: the worker's state.
        gate: the same that guards the other lane.
    """

    def __init__(self, serving: Serving, gate: Gate) -> None:
        self._serving = serving
        self._settings = serving.settings
        self._predictor = serving.predictor
        self._gate = gate

    def take(
        self,
        url: bytes,
        fields: list[Header],
        body: bytes,
        client: tuple[str, int] | None,
        respond: Respond,
    ) -> bool:
        """Answer a POST whose body has arrived whole, if this lane can.

        Args:
            url: the request target as it came.
            fields: header fields, names in lower case.
            body: all of it.
            client: address and port, None for a Unix socket.
            respond: called exactly once if the lane takes it, never otherwise.

        Returns:
            Whether it was taken. If not, nothing has happened.
        """
        route = _route(url)
        if route is None or len(body) > self._settings.max_body_bytes or self._serving.draining:
            return False
        model = self._serving.registry.peek(route.subject, route.version)
        headers = dict(fields)
        if model is None or not is_quick(model) or not bodies.is_quick(headers, body):
            return False
        if not _FOR_THE_OTHER.isdisjoint(headers) or routes_of(model.manifest) is not None:
            return False
        if is_drawn(model) and wants_picture(headers.get(b"accept", b"").decode("latin-1")):
            return False
        turn = _Turn(self._gate, route.template, model, request_id(headers), respond)
        try:
            self._gate.check_limits(len(fields), url.decode("ascii"))
            caller = self._gate.caller(headers, client, route.scope)
            decoded, encode = _CODECS[route.action]
            request = decoded(headers, body, model, self._settings)
            if not is_quick(model, request.rows):
                turn.leave()
                return False
            self._answer(turn, headers, request, caller, encode)
        except GlasslineError as error:
            turn.end(refused(error))
        except Exception:
            turn.fail()
        return True

    def _answer(
        self,
        turn: _Turn,
        headers: dict[bytes, bytes],
        request: InferRequest,
        caller: str,
        encode: Encode,
    ) -> None:
        outputs, late = self._predictor.predict_now(turn.model, request), None
        if turn.model.budget is not None:
            outputs, late = self._predictor.settle(turn.model, request, outputs, turn.since)

        def answer(record_id: str | None) -> Reply:
            return encode(headers, turn.model, request, Prediction(record_id, outputs, late))

        def unrecorded(error: Unavailable) -> Reply:
            self._predictor.unrecorded(turn.model, error)
            return answer(None)

        if not self._predictor.is_recorded(turn.model):
            turn.end(answer(None))
            return
        context = RequestContext(turn.request_id, caller, trace_id(headers))
        try:
            record_id, durable = self._predictor.record(turn.model, request, outputs, context, late)
        except Unavailable as error:
            turn.end(unrecorded(error))
            return
        # While the disk works: an answer that is ready, and told to nobody yet.
        durable.add_done_callback(partial(turn.end_recorded, answer(record_id), unrecorded))


class _Turn:
    """One request on its way through the lane."""

    __slots__ = ("_gate", "_respond", "_template", "model", "request_id", "since")

    def __init__(
        self, gate: Gate, template: str, model: LoadedModel, request_id: str, respond: Respond
    ) -> None:
        self.since = time.perf_counter()
        self._gate = gate
        self._template = template
        self._respond = respond
        self.model = model
        self.request_id = request_id
        gate.in_flight += 1

    def leave(self) -> None:
        """It goes over the other lane."""
        self._gate.in_flight -= 1

    def end(self, reply: Reply) -> None:
        """Answer, and count it."""
        self._gate.in_flight -= 1
        self._respond(reply, self.request_id)
        seconds = time.perf_counter() - self.since
        manifest = self.model.manifest
        label = (manifest.name, manifest.version)
        metrics.observe_request("POST", self._template, reply.status, seconds, label)

    def end_recorded(
        self,
        reply: Reply,
        unrecorded: Callable[[Unavailable], Reply],
        durable: asyncio.Future[None],
    ) -> None:
        """Answer once it is known whether the record is durable."""
        error = durable.exception()
        if error is None:
            self.end(reply)
        elif isinstance(error, Unavailable):
            try:
                self.end(unrecorded(error))
            except Unavailable:  # no record, no answer
                self.end(refused(error))
        else:
            self.fail(error)

    def fail(self, error: BaseException | None = None) -> None:
        """Answer for a fault of ours, and log it."""
        _log.error("request %s failed", self.request_id, exc_info=error or True)
        message = f"internal error; tell the operator request id {self.request_id}."
        self.end(Reply(error_body(message), status=500))


@lru_cache(maxsize=1024)
def _route(url: bytes) -> HotRoute | None:
    """The route of this lane that a plain path is; None for escapes, queries and other routes."""
    if b"%" in url or b"?" in url or not url.isascii():
        return None
    route = hot_route(url.decode("ascii"))
    return route if route is not None and route.action in _CODECS else None
