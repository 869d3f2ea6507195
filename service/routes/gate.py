"""Who comes in: header limits, API keys, requests in flight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.access import Scope
from service.errors import Overloaded, TooManyHeaders
from service.routes.paths import scope_of

if TYPE_CHECKING:
    from service.serving import Serving

Headers = Mapping[bytes, bytes]


class Gate:
    """The checks that every request passes before its body is looked at.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._settings = serving.settings
        self._keyring = serving.keyring
        #: requests that have come in and are not answered yet
        self.in_flight = 0

    def check_limits(self, fields: int, path: str) -> None:
        """Refuse what is too much; `in_flight` counts the request that is asking.

        Raises:
            TooManyHeaders: more header fields than are accepted.
            Overloaded: more requests in flight than are accepted, on a route with a scope.
        """
        if fields > self._settings.max_headers:
            raise TooManyHeaders(
                f"request headers: got {fields} fields, at most {self._settings.max_headers} are "
                "accepted. Send fewer, or raise GLASSLINE_MAX_HEADERS."
            )
        if self.in_flight > self._settings.max_concurrency and scope_of(path):
            raise Overloaded(
                f"{self._settings.max_concurrency} requests are in flight. Try again, or raise "
                "GLASSLINE_MAX_CONCURRENCY or GLASSLINE_WORKERS."
            )

    def caller(self, headers: Headers, client: tuple[str, int] | None, scope: Scope) -> str:
        """Name of whoever asks, allowed to do it.

        Args:
            headers: of the request, names in lower case.
            client: address and port, None for a Unix socket.
            scope: what a key must be good for.

        Raises:
            Unauthenticated, Forbidden: see `Keyring.caller`.
        """
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        if authorization[:7].lower() == "bearer ":
            presented: str | None = authorization[7:].strip()
        else:
            presented = headers.get(b"x-api-key", b"").decode("latin-1") or None
        return self._keyring.caller(presented, scope, str(client[0]) if client else "local")
