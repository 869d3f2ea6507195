"""The BentoML services and their wiring; nothing clever.

`Glassline` predicts: HTTP, models, records. `Explainer` explains, in processes of its
own at a lower priority, so that an explanation never delays a prediction and its death
loses none.
"""

from __future__ import annotations

import base64
import gc
import os
from typing import Any

from service import settings as configuration

settings = configuration.load()
# BentoML reads these when it is imported or started; nothing of ours may land in ~/bentoml.
os.environ.setdefault("BENTOML_HOME", str(settings.bentoml_home))
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml  # noqa: E402

from service.access import Keyring  # noqa: E402
from service.audit.recorder import Recorder, open_records  # noqa: E402
from service.errors import GlasslineError  # noqa: E402
from service.explain.parameters import ExplainParameters  # noqa: E402
from service.explain_queue import ExplainQueue, packed  # noqa: E402
from service.front import FrontedService  # noqa: E402
from service.inference.predictor import Predictor  # noqa: E402
from service.inference.registry import Registry  # noqa: E402
from service.inference.repository import Repository  # noqa: E402
from service.logs import configure_logging  # noqa: E402
from service.routes.application import Application  # noqa: E402
from service.serving import Serving  # noqa: E402
from service.store import ModelStore  # noqa: E402

application = Application()

#: BentoML's own layers that cost more than a small model (FACTS are in ARCHITECTURE.md).
_QUIET: Any = {
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": [".*"]},
}


def _registry(recorder: Recorder) -> Registry:
    return Registry(
        ModelStore(settings.root),
        settings.device,
        settings.threads,
        settings.model_memory_bytes,
        on_load=lambda model: recorder.model_load(model.recorded, model.load_seconds),
        on_refusal=recorder.model_refused,
    )


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
        # Imported here: scikit-image and scikit-learn have no business in predicting processes.
        from service.explainer import RecordExplainer

        configure_logging(settings.log_level)
        os.nice(10)  # predictions first
        self._records, self._writer = open_records(settings)
        recorder = Recorder(self._writer, "glassline-explainer")
        self._explainer = RecordExplainer(_registry(recorder), self._records, recorder)

    @bentoml.api
    def explain(
        self, record_id: str, parameters: dict[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        """Explain a recorded prediction; see `RecordExplainer.explain`."""
        try:
            return self._explainer.explain(record_id, ExplainParameters(**parameters), timeout_s)
        except GlasslineError as error:
            return packed(error)

    @bentoml.api
    def render(self, explanation_id: str, wanted: str) -> dict[str, Any]:
        """Render a recorded explanation as `wanted`, a media type; `body` is base64."""
        try:
            body = self._explainer.render(explanation_id, wanted)
        except GlasslineError as error:
            return packed(error)
        return {"body": base64.b64encode(body).decode("ascii")}

    @bentoml.on_shutdown
    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
        self._records.close()


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
        configure_logging(settings.log_level)
        records, writer = open_records(settings)
        recorder = Recorder(writer, "glassline")
        registry = _registry(recorder)
        repository = Repository(settings.root, ModelStore(settings.root))
        registry.follow(repository.read())
        self._serving = Serving(
            settings=settings,
            registry=registry,
            repository=repository,
            keyring=Keyring(settings.keys_file, settings.access),
            records=records,
            writer=writer,
            predictor=Predictor(recorder, settings),
            explain_queue=ExplainQueue(
                self.explainer.to_async, settings.explain_queue, settings.explain_timeout_s
            ),
        )
        application.open(self._serving)
        # A generation-2 collection over everything loaded so far would stall requests.
        gc.collect()
        gc.freeze()

    @bentoml.on_startup
    async def follow(self) -> None:
        """Begin to follow what the repository agrees on."""
        self._serving.start_following()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Answer no more, then write what waits."""
        application.close()
        self._serving.close()
