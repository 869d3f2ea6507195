"""From validated tensors to a recorded answer."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from service.inference.registry import LoadedModel

if TYPE_CHECKING:
    from service.audit.recorder import Recorder, RequestContext
    from service.protocol.request import InferRequest

#: A graph faster than this runs on the event loop: a thread hop would cost more than it.
INLINE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Prediction:
    """An answer that stands in the record store."""

    record_id: str
    outputs: dict[str, NDArray[Any]]


class Predictor:
    """Runs graphs and records what they said, before anybody is told.

    Args:
        recorder: where predictions are recorded.
        threads: graphs too slow for the event loop that may run at once.
    """

    def __init__(self, recorder: Recorder, threads: int = 2) -> None:
        self._recorder = recorder
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="glassline-predict")

    async def predict(
        self, model: LoadedModel, request: InferRequest, context: RequestContext
    ) -> Prediction:
        """Run the model on a validated request and record the answer durably.

        Raises:
            Unavailable: the record could not be written; no record, no answer.
        """
        start = time.perf_counter()
        rows = len(next(iter(request.inputs.values())))
        if model.session.row_seconds * rows < INLINE_SECONDS:
            raw = model.predict(request.inputs)
        else:
            loop = asyncio.get_running_loop()
            raw = await loop.run_in_executor(self._pool, model.predict, request.inputs)
        predicted = time.perf_counter()
        model.metrics.predict(predicted - start, rows)
        outputs = model.answer(raw)
        record_id = await self._recorder.prediction(
            model.recorded, request.inputs, outputs, context
        )
        return Prediction(record_id, outputs)

    def close(self) -> None:
        """Wait for running graphs."""
        self._pool.shutdown()
