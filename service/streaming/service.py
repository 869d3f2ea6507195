"""Streams in one predicting process: its own, or the way to those of another process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from service.anomaly.stream import Subject
from service.audit.alarm_records import AlarmRecorder
from service.audit.recorder import Recorder, Writer
from service.audit.store import RecordStore
from service.errors import DeadlineExceeded, GlasslineError, NoOwner
from service.explain_jobs import JobStore
from service.inference.registry import LoadedModel
from service.settings import Settings
from service.store import ModelStore
from service.streaming.desk import Desk, FindModel
from service.streaming.engine import Engine
from service.streaming.evidence import EvidenceDesk
from service.streaming.feed import AlarmFeed
from service.streaming.ownership import Ownership
from service.streaming.scoring import subject_of
from service.streaming.store import StreamStore

#: Seconds between two tries to bring the streams back, where the disk fails.
AGAIN_S: Final = 2.0
#: Seconds that a request waits for the streams to have an owner, and between two looks: an owner
#: that was killed has a successor within a second, which then brings them back from the disk.
PATIENCE_S: Final = 10.0
LOOK_S: Final = 0.02
#: How soon a process tries to become the owner, in seconds.
TAKE_OVER_S: Final = 0.25
_log = logging.getLogger("glassline.streams")


class StreamService:
    """All that a predicting process knows of streams.

    Args:
        settings: of this process.
        find_model: loads a model where need be.
        recorder: of this process.
        writer: of records.
        records: where records are looked up.
        jobs: explanations accepted for later.
    """

    def __init__(
        self,
        settings: Settings,
        find_model: FindModel,
        recorder: Recorder,
        writer: Writer,
        records: RecordStore,
        jobs: JobStore,
    ) -> None:
        self._settings = settings
        self._find_model = find_model
        self._recorder = recorder
        self._alarms = AlarmRecorder(writer)
        self._records = records
        self._jobs = jobs
        self._path = settings.root / "streams.db"
        self._models = ModelStore(settings.root)
        self._ownership = Ownership(settings.root / "run")
        self._reader = StreamStore(self._path)
        self.feed = AlarmFeed(self._reader)
        self._desk: Desk | None = None
        self._begun = self._closing = False
        self._engine: Engine | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Become the owner of the streams as soon as nobody else is; needs a running loop."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._own()))

    @property
    def begun(self) -> bool:
        """Whether the first try to bring the streams back is over, here or in another process.

        It stays true from then on: neither a disk that fails nor an owner that dies keeps a server
        from predicting.
        """
        return self._begun

    async def _own(self) -> None:
        while not self._ownership.try_acquire():
            self._begun = self._begun or await self._ownership.answers()
            await asyncio.sleep(TAKE_OVER_S if self._begun else LOOK_S)
        while True:
            try:
                await self._open()
                return
            except GlasslineError as error:
                _log.error("streams: %s", error)
            except Exception:
                _log.exception("streams: they could not be brought back")
            finally:
                self._begun = True
            await asyncio.sleep(AGAIN_S)

    async def _open(self) -> None:
        store = await asyncio.to_thread(StreamStore, self._path)
        waking: list[EvidenceDesk] = []

        def wake() -> None:
            for one in waking:
                one.wake()

        engine = Engine(store, self._subject, wake)
        await engine.start()
        evidence = EvidenceDesk(
            engine, self._reader, self._find_model, self._recorder, self._alarms, self._records,
            self._jobs,
            max(1, self._settings.explain_jobs // 2),
        )  # fmt: skip
        waking.append(evidence)
        self._tasks.append(asyncio.get_running_loop().create_task(evidence.run()))
        self._engine = engine
        self._desk = Desk(engine, self._find_model, self._settings)
        await self._ownership.serve(self._desk.answer)
        _log.info("streams: %d brought back", len(engine.memory.streams))

    def _subject(self, model: str, version: str) -> Subject:
        return subject_of(self._models.get(model, version))

    async def ask(self, asked: Mapping[str, Any], body: bytes = b"") -> dict[str, Any]:
        """Ask about streams, wherever they are; see `Desk.answer`.

        Raises:
            NoOwner: nobody has come to own them for `PATIENCE_S`.
            Unavailable: their owner went away while it was asked.
            GlasslineError: whatever is wrong with what is asked.
        """
        until = time.monotonic() + PATIENCE_S
        while self._desk is None:
            try:
                return await self._ownership.ask(asked, body)
            except NoOwner:
                if self._closing or time.monotonic() >= until:
                    raise
            await asyncio.sleep(LOOK_S)
        return await self._desk.answer(asked, body)

    async def rows(
        self, asked: Mapping[str, Any], body: bytes, model: LoadedModel, arrived: float
    ) -> dict[str, Any]:
        """Rows of streams, answered within the model's latency budget, if it has one.

        When the budget is over the rows are still taken in; the answer is the fail-safe and says
        so, and that they were is told when they are sent again.

        Args:
            asked: see `Desk.answer`.
            body: of the request.
            model: whose streams they are.
            arrived: by `time.perf_counter`, when the request came in.

        Raises:
            DeadlineExceeded: late answers of this model are to be errors.
            Unavailable, GlasslineError: see `ask`.
        """
        budget = model.budget
        if budget is None:
            return await self.ask(asked, body)
        task = asyncio.ensure_future(self.ask(asked, body))
        if await budget.wait(task, arrived):
            return task.result()
        task.add_done_callback(_look_at)
        model.metrics.late()
        if budget.fail_safe is None:
            raise DeadlineExceeded(
                f"{model.manifest.reference}: rows were not answered within {budget.ms:g} ms, its "
                "latency budget. They are taken in all the same: send them again for their answer, "
                "repeated ones are known."
            )
        return _fail_safe(asked, budget.fail_safe.value, budget.ms)

    async def close(self) -> None:
        """Save the streams, and let another process have them."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._desk = None
        if self._engine is not None:
            await self._engine.close()
        await self._ownership.close()
        self._reader.close()


def _look_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("streams: rows that were answered with the fail-safe were refused: %s", error)


def _fail_safe(asked: Mapping[str, Any], verdict: Any, ms: float) -> dict[str, Any]:
    return {
        "model_name": asked["model"],
        "model_version": asked["version"],
        "stream": asked["stream"],
        "rows": [],
        "alarms": [],
        "accepted": 0,
        "duplicates": 0,
        "late": 0,
        "verdict": verdict,
        "deadline_missed": True,
        "deadline_ms": ms,
    }
