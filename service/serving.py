"""What one predicting process holds: models, records, and the way to the explainer."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field

from service import tracing
from service.access import Keyring
from service.audit.opening import open_records
from service.audit.recorder import Recorder, Writer
from service.audit.store import RecordStore
from service.crew import Crew
from service.errors import GlasslineError, Unavailable
from service.explain_jobs import JobStore
from service.explain_queue import ExplainerProxy, ExplainQueue
from service.inference.devices import gpu_of
from service.inference.predictor import Predictor
from service.inference.registry import LoadedModel, Registry
from service.inference.repository import Repository
from service.settings import Settings
from service.store import ModelStore
from service.streaming.service import StreamService

#: How soon a process notices what another one loaded or unloaded.
FOLLOW_SECONDS = 0.5
_log = logging.getLogger("glassline.serving")


@dataclass(slots=True)
class Serving:
    """The state of a worker between its start and its end."""

    settings: Settings
    registry: Registry
    repository: Repository
    records: RecordStore
    writer: Writer
    recorder: Recorder
    predictor: Predictor
    explain_queue: ExplainQueue
    keyring: Keyring
    jobs: JobStore
    crew: Crew
    streams: StreamService = field(init=False)
    #: Whether the server is about to stop: connections are closed after their answer.
    draining: bool = False
    #: of what the repository agreed on when it was last read; see `Repository.stamp`
    seen: tuple[int, int] = (0, 0)
    _following: asyncio.Task[None] | None = None

    async def model(self, name: str, version: str | None) -> LoadedModel:
        """A loaded model; loading happens off the event loop.

        Raises:
            UnknownModel: not in the store.
            CorruptModel: refused, with the reason.
        """
        if model := self.registry.peek(name, version):
            return model
        return await asyncio.to_thread(self.registry.get, name, version)

    def __post_init__(self) -> None:
        self.streams = StreamService(
            self.settings, self.model, self.recorder, self.writer, self.records, self.jobs
        )

    def start_following(self) -> None:
        """Follow what other processes load, unload and alias; needs a running event loop."""
        self._following = asyncio.get_running_loop().create_task(self._follow())
        self.writer.attend()
        self.streams.start()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self.draining = self.crew.draining
            stamp = self.repository.stamp()
            if stamp != self.seen:
                self.seen = stamp
                await self.follow_now()

    async def follow_now(self) -> None:
        """Serve what the repository agrees on; a damaged state is logged and changes nothing."""
        try:
            state = await asyncio.to_thread(self.repository.read)
        except GlasslineError as error:
            _log.error("repository: %s", error)
            return
        await asyncio.to_thread(self.registry.follow, state)

    def check_ready(self) -> None:
        """Raise unless this server can answer.

        Raises:
            Unavailable: no model is loaded, a predicting process is missing, streams are not yet
                brought back, or the server is stopping.
        """
        self.crew.check()
        if not self.streams.begun:
            raise Unavailable("starting: streams are being brought back.")
        if not self.registry.loaded():
            refused = "; ".join(self.registry.refused.values())
            raise Unavailable(
                f"no model is loaded. {refused or 'Release one with `glassline train`.'}"
            )

    def close(self) -> None:
        """Finish what runs, then close the record store."""
        self.crew.leave()
        if self._following:
            self._following.cancel()
        self.predictor.close()
        self.writer.close()
        self.records.close()
        self.jobs.close()
        tracing.stop()


def open_serving(settings: Settings, explainer: ExplainerProxy, worker: int = 0) -> Serving:
    """The state of a predicting process: records open, models loaded and warm.

    Args:
        settings: of this process.
        explainer: the way to the explaining service.
        worker: number of this process among its like, from 0.

    Raises:
        Unavailable: the record store cannot be opened, or nobody comes up to write it.
    """
    tracing.start("glassline")  # before models are loaded: their metrics note the stages
    records, writer = open_records(settings)
    recorder = Recorder(writer, "glassline")
    registry = Registry.of(settings, recorder, gpu_of(worker))
    repository = Repository(settings.root, ModelStore(settings.root))
    _check_deadlines(settings)
    seen = repository.stamp()  # before it is read: what changes meanwhile is followed later
    registry.follow(repository.read())
    writer.wait()
    return Serving(
        settings=settings,
        registry=registry,
        repository=repository,
        records=records,
        writer=writer,
        recorder=recorder,
        predictor=Predictor(recorder, settings),
        explain_queue=ExplainQueue(explainer, settings.explain_queue, settings.explain_timeout_s),
        keyring=Keyring(settings.keys_file, settings.access),
        jobs=JobStore.of(settings),
        crew=Crew(settings.root, os.getppid(), settings.workers),
        seen=seen,
    )


def _check_deadlines(settings: Settings) -> None:
    """Say loudly that a latency budget is of no model; one may be released later."""
    known = ModelStore(settings.root).names()
    for name in sorted(settings.deadlines.keys() - set(known)):
        _log.warning(
            "GLASSLINE_DEADLINES: no model is called '%s', so that its latency budget holds for "
            "nothing; there are %s.", name, ", ".join(known) or "none yet",
        )  # fmt: skip
