"""Our ASGI application ahead of BentoML's middleware stack.

BentoML wraps every request of a mounted application in tracing, logging and metric
layers that cost several times what a small model does. `FrontedService` hands HTTP
straight to our application and leaves lifespan, and so BentoML's life cycle, to BentoML.
It overrides one method of one BentoML version; with any other version the application
is still served, through the mount that `service/app.py` declares.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn
import uvicorn.config
from bentoml import Service

from service import wire
from service.door import Doorkeeper

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

#: BentoML's series whose `Service.to_asgi` this module is tested against.
SUPPORTED = "1.4."

T = TypeVar("T")
_log = logging.getLogger("glassline.front")


class FrontedService(Service[T]):  # type: ignore[misc] # BentoML exports it lazily, untyped
    """A BentoML service whose first mounted application answers all HTTP.

    Use as `@bentoml.service(service_class=FrontedService)` above `@bentoml.asgi_app`.
    """

    __slots__ = ()

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The worker's ASGI application; see the module's docstring."""
        inner: Any = super().to_asgi(is_main=is_main)
        if not version("bentoml").startswith(SUPPORTED):
            _log.warning(
                "BentoML %s is not the %sx that the fast path is tested with; "
                "serving through its mount, which is slower.",
                version("bentoml"),
                SUPPORTED,
            )
            return inner  # type: ignore[no-any-return]
        mounted: ASGIApp = self.mount_apps[0][0]
        _register(mounted)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            await (mounted if scope["type"] == "http" else inner)(scope, receive, send)

        return front


def _register(mounted: Any) -> None:
    """Have uvicorn's server and its automatic choice of a protocol be ours, with `mounted.lane`."""
    if not version("uvicorn").startswith(wire.SUPPORTED):
        _log.warning(
            "uvicorn %s is not the %sx that the fast lane is tested with; serving without it.",
            version("uvicorn"),
            wire.SUPPORTED,
        )
        return
    wire.lane = getattr(mounted, "lane", None)
    uvicorn.Server = Doorkeeper  # type: ignore[misc] # BentoML's worker calls it by this name
    uvicorn.config.HTTP_PROTOCOLS["auto"] = "service.wire:WireProtocol"
