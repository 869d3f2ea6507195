"""From validated tensors to a recorded answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from service import metrics
from service.errors import DeadlineExceeded, Unavailable
from service.inference.batching import Batcher
from service.inference.registry import LoadedModel
from service.policy import SAFE

if TYPE_CHECKING:
    from service.audit.recorder import Recorder, RequestContext
    from service.protocol.request import InferRequest
    from service.settings import Settings
    from service.tasks.deadline import Late

#: A request that takes less runs on the event loop: a thread hop would cost more than it,
#: and one that takes more would keep health checks and everybody else waiting.
INLINE_SECONDS = 0.002
#: A batch must be so much faster a row; on a CPU most graphs are not.
WORTH_JOINING = 1.1
_log = logging.getLogger("glassline.records")


def is_quick(model: LoadedModel, rows: int = 1) -> bool:
    """Whether the model's graph may run on the event loop for so many rows.

    How long a translation takes hangs on its text: it never does.
    """
    return model.manifest.task != "translate" and (
        model.session.row_seconds * rows < INLINE_SECONDS
    )


@dataclass(slots=True)
class Prediction:
    """An answer, and the id of its record if it has one."""

    record_id: str | None
    outputs: dict[str, NDArray[Any]]
    #: where it was not there in the model's latency budget
    late: Late | None = None


class Predictor:
    """Runs graphs and records what they said, before anybody is told.

    Args:
        recorder: where predictions are recorded.
        settings: queue size, batch rows and time budget.
    """

    def __init__(self, recorder: Recorder, settings: Settings) -> None:
        self._recorder = recorder
        self._settings = settings
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="glassline-predict")
        self._batchers: dict[LoadedModel, Batcher] = {}
        self._unrecorded = 0
        self._loud_at = 0.0

    async def answer(
        self,
        model: LoadedModel,
        request: InferRequest,
        context: RequestContext,
        *,
        hurries: bool = True,
    ) -> Prediction:
        """Run the model on a validated request, and record the answer as the policy says.

        Args:
            model: a loaded model.
            request: valid for it.
            context: who asked, and when.
            hurries: whether the model's latency budget counts, if it has one: the answer is then
                the fail-safe where the model's own is not there in time.

        Raises:
            InvalidRequest: the graph refuses these values.
            Overloaded: too many requests wait for this model.
            DeadlineExceeded: not done within the time budget.
            Unavailable: the record could not be written; no record, no answer, unless
                GLASSLINE_RECORD_FAILURE is `open`.
        """
        late = None
        if hurries and model.budget is not None:
            outputs, late = await self._in_time(model, request, context.arrived)
        else:
            outputs = await self._outputs(model, request)
        if not self.is_recorded(model):
            return Prediction(None, outputs, late)
        try:
            record_id, durable = self.record(model, request, outputs, context, late)
            await durable
        except Unavailable as error:
            self.unrecorded(model, error)
            record_id = None
        return Prediction(record_id, outputs, late)

    async def predict(
        self, model: LoadedModel, request: InferRequest, context: RequestContext
    ) -> tuple[str, dict[str, NDArray[Any]]]:
        """Run the model on a validated request; what is explained is always recorded.

        Returns:
            The record's id, and the outputs.

        Raises:
            InvalidRequest, Overloaded, DeadlineExceeded, Unavailable: as `answer`, but no
                record, no answer, whatever the policy; a latency budget does not count.
        """
        outputs = await self._outputs(model, request)
        record_id, durable = self.record(model, request, outputs, context)
        await durable
        return record_id, outputs

    def is_recorded(self, model: LoadedModel) -> bool:
        """Whether the policy wants the next prediction of a model recorded; a sample is drawn."""
        share = self._settings.recorded_share(model.manifest.name)
        return share >= 1 or random.random() < share

    def unrecorded(self, model: LoadedModel, error: Unavailable) -> None:
        """Let an answer go without its record, if the settings do; counted, and logged loudly.

        Raises:
            Unavailable: they do not.
        """
        if self._settings.record_failure == "closed":
            raise error
        metrics.AUDIT_MISSED.labels(model.manifest.name, model.manifest.version).inc()
        self._unrecorded += 1
        now = time.monotonic()
        if now >= self._loud_at:  # once a second: a log that is flooded is read by nobody
            self._loud_at = now + 1
            _log.error(
                "ANSWERED WITHOUT A RECORD, %d times by this process, because "
                "GLASSLINE_RECORD_FAILURE is open: %s", self._unrecorded, error,
            )  # fmt: skip

    def predict_now(self, model: LoadedModel, request: InferRequest) -> dict[str, NDArray[Any]]:
        """Run a quick model on a validated request, here and now.

        Raises:
            InvalidRequest: the graph refuses these values.
        """
        return self._answered(model, self._run(model, request.inputs))

    def record(
        self,
        model: LoadedModel,
        request: InferRequest,
        outputs: Mapping[str, NDArray[Any]],
        context: RequestContext,
        late: Late | None = None,
    ) -> tuple[str, asyncio.Future[None]]:
        """Record an answer; its id, and a future that is done once it is durable.

        Raises:
            Overloaded, Unavailable: see `Recorder.prediction`.
        """
        return self._recorder.prediction(
            model.recorded, request.inputs, outputs, context, late=late
        )

    def settle(
        self,
        model: LoadedModel,
        request: InferRequest,
        outputs: dict[str, NDArray[Any]] | None,
        arrived: float,
    ) -> tuple[dict[str, NDArray[Any]], Late | None]:
        """What is answered within the model's latency budget; see `LatencyBudget.settle`."""
        assert model.budget is not None  # whoever asks has looked
        try:
            answer, late = model.budget.settle(request.inputs, outputs, arrived)
        except DeadlineExceeded:
            model.metrics.late()
            raise
        if late is not None:
            model.metrics.late()
        return answer, late

    async def _in_time(
        self, model: LoadedModel, request: InferRequest, arrived: float
    ) -> tuple[dict[str, NDArray[Any]], Late | None]:
        """The outputs, or at the deadline what stands in for them; see `settle`.

        What waits in the queue then leaves it; what runs is finished, and its answer dropped.
        """
        budget = model.budget
        assert budget is not None  # whoever asks has looked
        if budget.waits(request.inputs):
            return self.settle(model, request, await self._outputs(model, request), arrived)
        if budget.left(arrived) <= 0:  # nobody would hear the answer
            return self.settle(model, request, None, arrived)
        work = asyncio.ensure_future(self._outputs(model, request))
        try:
            outputs = work.result() if await budget.wait(work, arrived) else None
            return self.settle(model, request, outputs, arrived)
        finally:
            work.cancel()

    async def _outputs(self, model: LoadedModel, request: InferRequest) -> dict[str, NDArray[Any]]:
        if is_quick(model, request.rows):
            return self.predict_now(model, request)
        return self._answered(model, await self._queued(model, request))

    @staticmethod
    def _answered(
        model: LoadedModel, outputs: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        answer = model.answer(outputs)
        if model.manifest.calibration is not None:
            model.metrics.judged(answer)
        elif model.manifest.policy is not None:
            model.metrics.acted(answer[SAFE])
        return answer

    async def _queued(self, model: LoadedModel, request: InferRequest) -> dict[str, NDArray[Any]]:
        budget = self._settings.predict_timeout_s
        batcher = self._batcher(model)
        try:
            async with asyncio.timeout(budget):
                return await batcher.submit(request.inputs, request.rows)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{model.manifest.name}: not answered within {budget:g} s. Send smaller batches, "
                "or raise GLASSLINE_PREDICT_TIMEOUT_S or GLASSLINE_WORKERS."
            ) from None

    def _batcher(self, model: LoadedModel) -> Batcher:
        batcher = self._batchers.get(model)
        if batcher is None:
            batcher = Batcher(
                model.manifest.name,
                lambda inputs: self._run(model, inputs),
                self._pool,
                # Where a row costs the same in a batch, joining only makes the first one wait.
                self._settings.batch_rows if model.session.batch_gain > WORTH_JOINING else 1,
                self._settings.queue_size,
                on_start=model.metrics.queued,
                on_pending=model.metrics.waiting.set,
            )
            self._batchers[model] = batcher
        return batcher

    @staticmethod
    def _run(model: LoadedModel, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        start = time.perf_counter()
        outputs = model.predict(inputs)
        seconds = time.perf_counter() - start
        rows = len(next(iter(inputs.values())))
        model.metrics.predict(seconds, rows)
        return outputs

    def forget(self, model: LoadedModel) -> None:
        """Drop the queue of a model that was unloaded; what runs is finished."""
        self._batchers.pop(model, None)

    def close(self) -> None:
        """Wait for running graphs."""
        self._pool.shutdown()
