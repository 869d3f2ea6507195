"""The BentoML services and their wiring; nothing clever.

`Glassline` predicts: HTTP, models, records. `Explainer` explains, in processes of its
own at a lower priority, so that an explanation never delays a prediction and its death
loses none.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from service import settings as configuration

settings = configuration.load()
# BentoML reads these when it is imported or started; nothing of ours may land in ~/bentoml.
os.environ.setdefault("BENTOML_HOME", str(settings.bentoml_home))
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml  # noqa: E402

from service.door import Doorkeeper  # noqa: E402
from service.front import FrontedService  # noqa: E402
from service.logs import configure_logging  # noqa: E402
from service.routes.application import Application  # noqa: E402

# Everything else is imported where a worker begins: the supervisor imports this module too,
# and scikit-image and scikit-learn have no business in predicting processes.

application = Application()

#: BentoML's own layers that cost more than a small model (see ARCHITECTURE.md).
_QUIET: Any = {
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": [".*"]},
}


def _worker() -> int:
    """Number of this process among its like, from 0; BentoML counts from 1."""
    return (bentoml.server_context.worker_index or 1) - 1


@bentoml.service(
    name="glassline-explainer",
    workers=settings.explain_workers,
    threads=settings.explain_queue,
    traffic={"timeout": settings.explain_timeout_s + 10},
    **_QUIET,
)
class Explainer:
    """Explains recorded predictions. Reached only through `Glassline`."""

    def __init__(self) -> None:
        os.nice(10)  # predictions first, from the start: what follows takes seconds to import
        from service.explainer import RecordExplainer

        configure_logging(settings.log_level)
        self._explainer = RecordExplainer.open(settings, _worker())

    @bentoml.api
    def explain(
        self,
        record_id: str,
        parameters: dict[str, Any],
        timeout_s: float,
        trace: dict[str, str],
    ) -> dict[str, Any]:
        """Explain a recorded prediction; an error comes back as `packed` has it."""
        return self._explainer.explained(record_id, parameters, timeout_s, trace)

    @bentoml.api
    def render(self, explanation_id: str, wanted: str) -> dict[str, Any]:
        """Render a recorded explanation as `wanted`, a media type; `body` is base64."""
        return self._explainer.rendered(explanation_id, wanted)

    @bentoml.api
    def replay(self, record_id: str, caller: str, timeout_s: float) -> dict[str, Any]:
        """Do again what a record tells of; an error comes back as `packed` has it."""
        return self._explainer.replayed(record_id, caller, timeout_s)

    @bentoml.api
    def report(self, record_id: str, caller: str, wanted: str) -> dict[str, Any]:
        """The report on a record as `wanted`, a media type; `body` is base64."""
        return self._explainer.reported(record_id, caller, wanted)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Write what waits."""
        self._explainer.close()


@bentoml.service(
    name="glassline",
    service_class=FrontedService,
    workers=settings.workers,
    http={"host": settings.host, "port": settings.port},
    traffic={"timeout": settings.explain_timeout_s + 20},
    **_QUIET,
)
@bentoml.asgi_app(application, path="/")
class Glassline:
    """Answers all HTTP."""

    explainer = bentoml.depends(Explainer)

    def __init__(self) -> None:
        from service.serving import open_serving

        configure_logging(settings.log_level)
        self._serving = open_serving(settings, self.explainer.to_async, _worker())
        application.open(self._serving)
        Doorkeeper.crew = self._serving.crew
        self._serving.crew.join()
        # A generation-2 collection over everything loaded so far would stall requests.
        gc.collect()
        gc.freeze()

    @bentoml.on_startup
    async def follow(self) -> None:
        """Begin to follow what the repository agrees on."""
        self._serving.start_following()

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Answer no more, then write what waits."""
        application.close()
        await self._serving.streams.close()
        self._serving.close()
