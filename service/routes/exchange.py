"""One HTTP exchange on bare ASGI: headers in, a bounded body in, one response out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from service.errors import InvalidParameter, SlowBody, TooLarge
from service.routes.reply import JSON, Reply
from service.routes.status import error_body

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

#: A client that has begun to send a body too large may read our answer only once it has
#: sent all of it; so much is read and thrown away, for so long, before we hang up.
DRAIN_BYTES = 256 * 1024 * 1024
DRAIN_SECONDS = 10.0


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Exchange:
    """One request and its one response."""

    __slots__ = (
        "_send", "arrived", "closing", "headers", "method", "model", "path", "receive",
        "request_id", "scope", "status",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        #: by `time.perf_counter`: when its head had come in
        self.arrived = time.perf_counter()
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        #: of the response, once it has begun; 0 before
        self.status = 0
        self.request_id = ""
        #: whether the connection ends with this response
        self.closing = False
        #: name and version, once the request was found to be about a known model
        self.model: tuple[str, str] | None = None
        self.receive = receive
        self._send = send

    def header(self, name: bytes, default: str = "") -> str:
        """A header's value as text; names are lower case."""
        value = self.headers.get(name)
        return default if value is None else value.decode("latin-1")

    def query(self) -> dict[str, str]:
        """Query parameters; a repeated one is refused rather than silently dropped.

        Raises:
            InvalidParameter: a parameter stands twice, or is not UTF-8.
        """
        raw: bytes = self.scope.get("query_string", b"")
        if not raw:
            return {}
        try:
            pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
        except (UnicodeDecodeError, ValueError) as error:
            raise InvalidParameter(f"query string: {error}. Send percent-encoded UTF-8.") from None
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise InvalidParameter("query string: a parameter stands twice; send each once.")
        return parameters

    async def body(self, limit: int, seconds: float) -> bytes:
        """The whole request body.

        Args:
            limit: largest body in bytes.
            seconds: in which all of it must have arrived.

        Raises:
            TooLarge: the body exceeds `limit`; what can be is read and thrown away.
            SlowBody: it did not arrive in time.
            ClientGone: the connection closed first.
        """
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            if self.header(b"expect").lower() != "100-continue":
                await self._drain()
            raise self._too_large(int(declared), limit)
        try:
            async with asyncio.timeout(seconds):
                first = await self.receive()
                if first["type"] == "http.disconnect":
                    raise ClientGone
                body: bytes = first.get("body", b"")
                if first.get("more_body", False):
                    return await self._rest(body, limit)
        except TimeoutError:
            raise SlowBody(
                f"request body: had not arrived after {seconds:g} s. Send it faster, or raise "
                "GLASSLINE_BODY_TIMEOUT_S."
            ) from None
        if len(body) > limit:
            raise self._too_large(len(body), limit)
        return body

    async def _rest(self, body: bytes, limit: int) -> bytes:
        chunks = [body]
        size = len(body)
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                await self._drain()
                raise self._too_large(size, limit)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self, size: int, limit: int) -> TooLarge:
        return TooLarge(
            f"request body: got at least {size} bytes, at most {limit} are accepted. "
            "Send smaller batches, or raise GLASSLINE_MAX_BODY_BYTES."
        )

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                drained = 0
                while drained < DRAIN_BYTES:
                    message = await self.receive()
                    drained += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return
        except TimeoutError:
            return

    async def send(
        self,
        status: int,
        body: bytes,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the response."""
        self.status = status
        raw = [
            (b"content-type", media_type.encode("latin-1")),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"x-request-id", self.request_id.encode("latin-1")),
        ]
        if self.closing:
            raw.append((b"connection", b"close"))
        if headers:
            raw += [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    async def reply(self, reply: Reply) -> None:
        """Send a reply; one that refuses the body ends the connection."""
        if reply.status in (408, 413):
            self.closing = True
        await self.send(reply.status, reply.body, reply.media_type, reply.headers)

    async def forward(self, message: Message) -> None:
        """Send a raw ASGI message of another application, with the request id on it."""
        if message["type"] == "http.response.start":
            stamp = (b"x-request-id", self.request_id.encode("latin-1"))
            message = {**message, "headers": [*message.get("headers", ()), stamp]}
        await self._send(message)

    async def send_json(
        self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a JSON response."""
        await self.send(status, orjson.dumps(content), JSON, headers)

    async def send_error(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the protocol's error object."""
        await self.send(status, error_body(message), JSON, headers)
