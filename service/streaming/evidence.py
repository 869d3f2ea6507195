"""What a live alarm is owed: the window as a recorded prediction, the alarm as a record, a reason.

What is owed stands in the store beside the alarm, with the ids of its records, and is worked off
after the caller was answered: a process that dies in between leaves it to the next one, and an id
that is in the record store already is not written again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from service import stream_metrics
from service.audit.alarm_records import AlarmRecorder
from service.audit.recorder import Recorder, RequestContext
from service.audit.store import RecordStore
from service.errors import GlasslineError, NotFound, Overloaded, UnknownRecord
from service.explain.parameters import ExplainParameters
from service.explain_jobs import JobStore
from service.inference.registry import LoadedModel
from service.streaming.engine import Engine
from service.streaming.store import StreamStore

FindModel = Callable[[str, str | None], Awaitable[LoadedModel]]
#: Owed things looked at in one go; seconds between two tries of what failed.
AT_ONCE: Final = 32
AGAIN_S: Final = 5.0
#: Whose the automatic explanations are.
CALLER: Final = "glassline"
#: What is recorded of a stream, by what is owed.
_STREAMS: Final = {"forget": "forgotten", "settings": "reconfigured"}
_log = logging.getLogger("glassline.streams")


class EvidenceDesk:
    """Pays what is owed for alarms, oldest first.

    Args:
        engine: whose store it is.
        owed: the same store, for reading.
        find_model: loads a model where need be.
        recorder: of this process, for predictions.
        alarms: for alarms.
        records: where records are looked up.
        jobs: explanations accepted for later.
        most_jobs: explanations that may wait before alarms ask for no more: people ask too.
    """

    def __init__(
        self,
        engine: Engine,
        owed: StreamStore,
        find_model: FindModel,
        recorder: Recorder,
        alarms: AlarmRecorder,
        records: RecordStore,
        jobs: JobStore,
        most_jobs: int,
    ) -> None:
        self._engine = engine
        self._owed = owed
        self._find_model = find_model
        self._recorder = recorder
        self._alarms = alarms
        self._records = records
        self._jobs = jobs
        self._most_jobs = most_jobs
        self._wake = asyncio.Event()
        self._wake.set()

    def wake(self) -> None:
        """Something is owed."""
        self._wake.set()

    async def run(self) -> None:
        """Pay for ever."""
        while True:
            try:
                async with asyncio.timeout(AGAIN_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                last = 0
                while owed := self._owed.owed(AT_ONCE, last):
                    last = owed[-1][0]  # what cannot be paid now keeps nobody behind it waiting
                    await self._pay(owed)
            except GlasslineError as error:
                _log.error("alarm records: %s", error)
            except Exception:
                _log.exception("alarm records: not written; tried again")

    async def _pay(self, owed: Sequence[tuple[int, str, str, bytes | None]]) -> None:
        paid: list[tuple[int, dict[str, Any] | None]] = []
        for number, kind, text, window in owed:
            said = orjson.loads(text)
            try:
                if kind == "alarm":
                    paid.append((number, await self._alarm(said, window or b"")))
                else:
                    await asyncio.to_thread(self._act, kind, said)
                    paid.append((number, None))
            except GlasslineError as error:
                _log.error("record of %s: %s", said.get("event", said), error)
        if paid:
            await self._engine.on_writer(lambda: self._engine.store.paid(paid))

    async def _alarm(self, said: dict[str, Any], window: bytes) -> dict[str, Any]:
        """Record the prediction that raised an alarm, and the alarm; ask for an explanation."""
        event = said["event"]
        try:
            model = await self._find_model(event["model"], event["version"])
        except NotFound:  # it was deleted since: the alarm is recorded without its prediction
            await asyncio.to_thread(self._alarms.alarm, event, said["record_id"], None)
            return {"alarm": event["alarm"], "record": said["record_id"], "unexplained": "no model"}
        await self._recorded(model, said, window)
        job, reason = None, "flood or shelved"
        if said["explain"]:
            job, reason = await asyncio.to_thread(self._explained, model, said["prediction_id"])
        if job is None:
            stream_metrics.UNEXPLAINED.labels(reason).inc()
        return {
            "alarm": event["alarm"],
            "prediction_record": said["prediction_id"],
            "record": said["record_id"],
            "job": job,
            "unexplained": None if job else reason,
        }

    async def _recorded(self, model: LoadedModel, said: dict[str, Any], window: bytes) -> None:
        event, prediction_id = said["event"], said["prediction_id"]
        if not await asyncio.to_thread(self._has, prediction_id):
            tensor = model.manifest.inputs[0]
            rows = np.frombuffer(window, np.float32).reshape(1, -1, len(tensor.features or ()))
            inputs = model.admit({tensor.name: rows})
            outputs = await asyncio.to_thread(lambda: model.answer(model.predict(inputs)))
            context = RequestContext(event["alarm"][:128], CALLER)
            _, durable = self._recorder.prediction(
                model.recorded, inputs, outputs, context, prediction_id
            )
            await durable
        if not await asyncio.to_thread(self._has, said["record_id"]):
            await asyncio.to_thread(self._alarms.alarm, event, said["record_id"], prediction_id)

    def _has(self, record_id: str) -> bool:
        try:
            self._records.get(record_id)
        except UnknownRecord:
            return False
        return True

    def _explained(self, model: LoadedModel, prediction_id: str) -> tuple[str | None, str]:
        """An accepted explanation, or why there is none."""
        if model.manifest.explainer is None:
            return None, "no explainer"
        if self._jobs.waiting() >= self._most_jobs:
            return None, "queue full"
        try:
            asked = ExplainParameters().model_dump(mode="json")
            return self._jobs.accept(prediction_id, asked, CALLER).id, ""
        except Overloaded:
            return None, "queue full"

    def _act(self, kind: str, said: dict[str, Any]) -> None:
        """Record what was done to an alarm or a stream, or a drift."""
        if kind in _STREAMS:
            self._alarms.stream(_STREAMS[kind], said)
            return
        if kind == "drift":
            self._alarms.drift(said["event"])
            return
        event = said["event"]
        # A historical alarm has no record.
        parent = self._owed.evidence(event["alarm"]).get("record")
        self._alarms.act(event, said["caller"], parent)
