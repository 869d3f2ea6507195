"""Requests that wait for the same graph run together; nobody pays for a neighbour.

Nothing waits while the graph is idle: a request starts at once, and those that come while
it runs form the next batch. Everything here happens on one event loop; only the graph runs
in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service import tracing
from service.errors import Overloaded

Tensors = Mapping[str, NDArray[Any]]
Run = Callable[[Tensors], dict[str, NDArray[Any]]]
#: What must agree for two requests to share a batch: names, dtypes and shapes but the rows.
Signature = tuple[tuple[str, str, tuple[int, ...]], ...]


@dataclass(slots=True, eq=False)
class _Waiting:
    inputs: Tensors
    rows: int
    answer: asyncio.Future[dict[str, NDArray[Any]]]
    since: float
    #: when its batch began to run, and on how many rows in all
    started: float = 0.0
    batch: int = 0


class Batcher:
    """The bounded queue in front of one loaded graph.

    Args:
        name: of the model, for messages.
        run: inputs to outputs, batch on axis 0; raises what it likes.
        pool: where `run` runs.
        max_rows: largest batch that requests are joined to, >= 1; a larger request runs alone.
        max_pending: requests that may wait; one more is refused.
        slots: batches that may run at once, >= 1.
        on_start: told the seconds that each request had waited when its batch starts.
        on_pending: told how many wait, whenever that changes.
    """

    def __init__(
        self,
        name: str,
        run: Run,
        pool: Executor,
        max_rows: int,
        max_pending: int,
        slots: int = 1,
        on_start: Callable[[float], None] | None = None,
        on_pending: Callable[[int], None] | None = None,
    ) -> None:
        self._on_start = on_start
        self._on_pending = on_pending
        self._name = name
        self._run = run
        self._pool = pool
        self._max_rows = max_rows
        self._max_pending = max_pending
        self._free = slots
        self._queues: dict[Signature, deque[_Waiting]] = {}
        self._pending = 0

    @property
    def pending(self) -> int:
        """Requests that wait, those that run not counted."""
        return self._pending

    async def submit(self, inputs: Tensors, rows: int) -> dict[str, NDArray[Any]]:
        """Run the graph on these inputs, together with whoever else waits.

        Cancelling takes a waiting request out of the queue; one that runs is finished
        and its answer dropped.

        Args:
            inputs: valid for the graph, batch on axis 0.
            rows: the batch's extent, >= 1.

        Returns:
            The outputs of these rows alone.

        Raises:
            Overloaded: `max_pending` requests wait.
            Exception: what `run` raised for these rows by themselves.
        """
        if self._pending >= self._max_pending:
            raise Overloaded(
                f"{self._name}: {self._pending} requests wait and {self._max_pending} may. "
                "Try again later, or raise GLASSLINE_QUEUE_SIZE or GLASSLINE_WORKERS."
            )
        loop = asyncio.get_running_loop()
        waiting = _Waiting(inputs, rows, loop.create_future(), time.perf_counter())
        self._queues.setdefault(_signature(inputs), deque()).append(waiting)
        self._count(+1)
        self._start_what_can(loop)
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        finally:
            if (trace := tracing.current()) is not None:
                trace.batched(waiting.since, waiting.started, rows, waiting.batch)

    def _leave(self, waiting: _Waiting) -> None:
        """A caller has left; its place is free for another at once."""
        signature = _signature(waiting.inputs)
        queue = self._queues.get(signature)
        if queue is None or waiting not in queue:
            return  # it runs
        queue.remove(waiting)
        self._count(-1)
        if not queue:
            del self._queues[signature]

    def _start_what_can(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._free and self._queues:
            group = self._take()
            if group:
                self._free -= 1
                self._tell_waits(group)
                running = loop.run_in_executor(self._pool, _answers, self._run, group)
                running.add_done_callback(partial(self._finish, loop, group))

    def _count(self, change: int) -> None:
        self._pending += change
        if self._on_pending:
            self._on_pending(self._pending)

    def _tell_waits(self, group: Sequence[_Waiting]) -> None:
        now = time.perf_counter()
        batch = sum(waiting.rows for waiting in group)
        for waiting in group:
            waiting.started, waiting.batch = now, batch
            if self._on_start:
                self._on_start(now - waiting.since)

    def _take(self) -> list[_Waiting]:
        """The next batch, from the signature whose turn it is; empty if all its callers left."""
        signature, queue = next(iter(self._queues.items()))
        group: list[_Waiting] = []
        rows = 0
        while queue and (not group or rows + queue[0].rows <= self._max_rows):
            waiting = queue.popleft()
            self._count(-1)
            if not waiting.answer.done():
                group.append(waiting)
                rows += waiting.rows
        # To the end of the line: a busy signature never starves another.
        del self._queues[signature]
        if queue:
            self._queues[signature] = queue
        return group

    def _finish(
        self, loop: asyncio.AbstractEventLoop, group: list[_Waiting], done: asyncio.Future[Any]
    ) -> None:
        self._free += 1
        for waiting, answer in zip(group, done.result(), strict=True):
            if waiting.answer.done():
                continue  # its caller left while it ran
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        self._start_what_can(loop)


def _signature(inputs: Tensors) -> Signature:
    return tuple((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items())


def _answers(run: Run, group: Sequence[_Waiting]) -> list[dict[str, NDArray[Any]] | Exception]:
    """One answer or error for each of the group; a batch that fails is run again one by one."""
    if len(group) == 1:
        return [_alone(run, group[0])]
    try:
        joined = {
            name: np.concatenate([waiting.inputs[name] for waiting in group])
            for name in group[0].inputs
        }
        outputs = run(joined)
        ends = np.cumsum([waiting.rows for waiting in group])
        return [
            {name: array[end - waiting.rows : end] for name, array in outputs.items()}
            for waiting, end in zip(group, ends, strict=True)
        ]
    except Exception:  # whose fault it is shows when each runs alone
        return [_alone(run, waiting) for waiting in group]


def _alone(run: Run, waiting: _Waiting) -> dict[str, NDArray[Any]] | Exception:
    try:
        return run(waiting.inputs)
    except Exception as error:
        return error
