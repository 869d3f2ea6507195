"""The HTTP protocol of a worker: uvicorn's, with a lane for requests that arrive whole.

uvicorn makes a task, a scope and an event for every request, and its server calls three
layers before ours. For a model that answers in 20 microseconds that is most of the time.
`WireProtocol` parses with uvicorn's parser, and where a POST has come in whole it offers it
to the lane first; what the lane does not take goes on through uvicorn as if nothing had
happened. It reaches into one series of uvicorn (see `SUPPORTED`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.routes.reply import Reply

    Respond = Callable[[Reply, str], None]
    Lane = Callable[[bytes, list[tuple[bytes, bytes]], bytes, Any, Respond], bool]

#: uvicorn's series whose HttpToolsProtocol this module is tested against.
SUPPORTED: Final = "0.54."
#: Only a path that ends so is worth holding a request back for.
_SUFFIXES: Final = (b"/infer", b"/act")

#: Offered whole requests, if there is one; see `FastLane.take`.
lane: Lane | None = None


class _Turn:
    """What uvicorn knows a running request by; one a connection, used again and again."""

    __slots__ = (
        "body", "disconnected", "keep_alive", "message_event", "more_body", "response_complete",
    )  # fmt: skip

    def __init__(self) -> None:
        self.response_complete = True
        self.disconnected = False
        self.keep_alive = True
        self.more_body = False
        self.body = b""
        #: uvicorn sets it when the connection is lost; nobody waits for it here
        self.message_event = self

    def set(self) -> None:
        """Nobody waits."""


class WireProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with the lane in front."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = _Turn()
        #: whether the request that is coming in is held back for the lane
        self._held = False
        self._body = b""

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        super().data_received(data)
        if self._held:  # more of it is to come: uvicorn's limits and timeouts apply
            self._release()

    def on_message_begin(self) -> None:
        """A request begins; its ASGI scope is made when it is needed."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """The head of a request has come in."""
        if (
            lane is not None
            and self.url.endswith(_SUFFIXES)
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        ):
            self._held = True
            self._body = b""
        else:
            self._begin()

    def on_body(self, body: bytes) -> None:
        """A part of a request's body has come in."""
        if self._held:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has come in whole."""
        if not self._held:
            super().on_message_complete()
            return
        assert lane is not None
        turn = self._turn
        turn.response_complete = False
        turn.keep_alive = self.parser.should_keep_alive()
        before, self.cycle = self.cycle, turn  # type: ignore[assignment]
        if lane(self.url, self.headers, self._body, self.client, partial(self._respond, turn)):
            self._held = False
        else:
            turn.response_complete = True
            self.cycle = before
            self._release()
            super().on_message_complete()

    def _release(self) -> None:
        """Hand what was held back to uvicorn."""
        self._held = False
        self._begin()
        if self._body:
            super().on_body(self._body)

    def _begin(self) -> None:
        """Have uvicorn begin the request whose head has come in."""
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expected
        self.scope["headers"] = headers
        super().on_headers_complete()

    def _respond(self, turn: _Turn, reply: Reply, request_id: str) -> None:
        if turn.disconnected or self.transport.is_closing():
            return
        turn.response_complete = True
        lines = [STATUS_LINE[reply.status]]
        for field, value in self.server_state.default_headers:
            lines += (field, b": ", value, b"\r\n")
        said = "".join([f"{name}: {text}\r\n" for name, text in reply.headers.items()])
        if not turn.keep_alive:
            said += "connection: close\r\n"
        lines.append(
            f"content-type: {reply.media_type}\r\ncontent-length: {len(reply.body)}\r\n"
            f"x-request-id: {request_id}\r\n{said}\r\n".encode("latin-1")
        )
        lines.append(reply.body)
        self.transport.write(b"".join(lines))
        if not turn.keep_alive:
            self.transport.close()
        self.on_response_complete()
