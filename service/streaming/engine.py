"""All streams of a process, turn by turn: nobody is answered before what they sent is durable."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from service.anomaly.stream import StreamKey
from service.anomaly.stream_config import StreamConfig
from service.errors import GlasslineError, Overloaded, Unavailable
from service.protocol.stream_rows import Rows
from service.streaming.memory import Memory, Subjects
from service.streaming.requests import ActRequest, Request, RowsRequest, Taken
from service.streaming.scoring import Scorer
from service.streaming.store import StreamStore, Turn
from service.streaming.turns import TurnWork

#: Rows of a turn, and requests that may wait.
ROWS_A_TURN: Final = 2048
WAITING: Final = 4096
_log = logging.getLogger("glassline.streams")


class Engine:
    """Takes rows of all streams; see `ARCHITECTURE.md`.

    While one turn is being made durable the next is worked on. Requests about one stream keep their
    order: a turn has at most one of them.

    Args:
        store: where streams are durable; this process alone writes it.
        subjects: see `Memory`.
        on_durable: told after each turn that something is durable.
    """

    def __init__(
        self, store: StreamStore, subjects: Subjects, on_durable: Callable[[], None]
    ) -> None:
        #: for the writing thread alone; see `on_writer`
        self.store = store
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="glassline-streams")
        self._on_durable = on_durable
        self.memory = Memory(store, subjects)
        self._waiting: deque[Request] = deque()
        self._wake = asyncio.Event()
        self._stale = False
        self._stopping = False
        self._committing: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring the streams back and begin.

        Raises:
            Unavailable: the store does not answer.
        """
        await self.on_writer(self.memory.recover)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def on_writer(self, do: Callable[[], Any]) -> Any:
        """Do something with the store in the thread that writes it."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, do)

    async def offer(
        self, scorer: Scorer, rows: dict[StreamKey, Rows], historical: bool, config: StreamConfig
    ) -> dict[StreamKey, Taken]:
        """Take rows in; what became of each, once it is durable.

        Raises:
            Conflict: a row differs from the one of its time.
            StreamRefused: a value is out of range, or the model finds no number.
            Overloaded: too many requests wait.
            Unavailable: it could not be made durable.
        """
        done: asyncio.Future[dict[StreamKey, Taken]] = asyncio.get_running_loop().create_future()
        self._queue(RowsRequest(scorer, rows, historical, config, done))
        return await done

    async def act(self, key: StreamKey, do: Callable[[TurnWork], Any]) -> Any:
        """Do something to a stream between rows; its answer, once it is durable.

        Raises:
            GlasslineError: what `do` raises.
            Overloaded, Unavailable: see `offer`.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue(ActRequest(key, do, done))
        return await done

    def _queue(self, request: Request) -> None:
        if self._task is None or self._stopping:
            raise Unavailable("streams: this process is starting or stopping. Try again.")
        if len(self._waiting) >= WAITING:
            raise Overloaded(f"streams: {WAITING} requests wait. Send rows in larger batches.")
        self._waiting.append(request)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            requests = self._next()
            if not requests:
                if self._stopping:
                    return
                self._wake.clear()
                continue
            await self._attempt(requests)

    async def _attempt(self, requests: list[Request]) -> None:
        """A turn; one that fails for no known reason is done again one by one.

        Nothing of it is durable then, and whoever is at fault fails alone.
        """
        try:
            await self._turn(requests)
        except GlasslineError as error:
            _refuse(requests, error)
        except Exception:
            _log.exception("streams: a turn failed")
            self._stale = True
            if len(requests) == 1:
                _refuse(requests, Unavailable("streams: internal error, see the log. Try again."))
                return
            for one in requests:
                if not one.done.done():
                    one.undo()
                    await self._attempt([one])

    def _next(self) -> list[Request]:
        """What the next turn does: at most one request a stream, the others keep their order."""
        chosen: list[Request] = []
        left: deque[Request] = deque()
        busy: set[StreamKey] = set()
        size = 0
        while self._waiting:
            request = self._waiting.popleft()
            if request.done.cancelled():
                continue  # its caller has left, and nothing of it was done
            if size >= ROWS_A_TURN:
                self._waiting.appendleft(request)
                break
            keys = request.keys
            if busy.isdisjoint(keys):
                chosen.append(request)
                size += request.size
            else:
                left.append(request)
            busy |= keys
        self._waiting.extendleft(reversed(left))
        return chosen

    async def _turn(self, requests: list[Request]) -> None:
        if self._stale:
            await self._settled()
            await self.on_writer(self.memory.recover)
            self._stale = False
        self.memory.place += 1
        work = TurnWork(self.memory, self.memory.place)
        try:
            await work.do(requests)
        except BaseException:
            self._stale = True
            raise
        self.memory.close_turn(work.turn, work.touched, everything=False)
        await self._settled()
        if self._stale:  # the turn before is not durable, and this one was built upon it
            raise Unavailable(
                "streams: the rows before these could not be made durable. Try again."
            )
        self._committing = asyncio.get_running_loop().create_task(self._commit(work))

    async def _settled(self) -> None:
        if self._committing is not None:
            await self._committing
            self._committing = None

    async def _commit(self, work: TurnWork) -> None:
        turn = work.turn
        try:
            if turn.entries or turn.owed or turn.snapshots:
                await self.on_writer(lambda: self.store.commit(turn))
        except GlasslineError as error:
            self._stale = True
            _log.error("%s", error)
            for done, _ in work.replies:
                if not done.done():
                    done.set_exception(error)
            return
        for done, answer in work.replies:
            if not done.done():
                done.set_result(answer)
        work.count(len(self.memory.streams))
        if turn.owed or turn.alarms:
            self._on_durable()

    async def close(self) -> None:
        """Finish what runs, save every stream that changed, and stop."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._settled()
        if not self._stale:
            turn = Turn(self.memory.place + 1)
            self.memory.close_turn(turn, {}, everything=True)
            if turn.snapshots:
                await self.on_writer(lambda: self.store.commit(turn))
        self._writer.shutdown()
        self.store.close()


def _refuse(requests: list[Request], error: GlasslineError) -> None:
    for request in requests:
        if not request.done.done():
            request.done.set_exception(error)
