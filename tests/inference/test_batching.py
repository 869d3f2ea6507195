"""The batcher, with a graph made of numpy: who runs with whom, and who pays for whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.errors import Overloaded
from service.inference.batching import Batcher, Tensors


class Graph:
    """y = x + 1, which fails on any batch with a negative number, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        self.gate.wait(5)
        x = inputs["x"]
        self.batches.append(len(x))
        if (x < 0).any():
            raise ArithmeticError("a negative number")
        return {"y": x + 1}


@pytest.fixture
def graph() -> Graph:
    return Graph()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def batcher(graph: Graph, pool: ThreadPoolExecutor, **limits: int) -> Batcher:
    return Batcher("m", graph, pool, **({"max_rows": 8, "max_pending": 1000} | limits))


def rows(*values: float) -> dict[str, NDArray[Any]]:
    return {"x": np.array(values, np.float32)[:, None]}


async def running(queue: Batcher, graph: Graph, *requests: Tensors) -> list[Any]:
    """Submit a first request that holds the graph, then all others, then let go."""
    graph.gate.clear()
    tasks = [asyncio.create_task(queue.submit(r, len(r["x"]))) for r in (rows(0), *requests)]
    await asyncio.sleep(0.02)
    graph.gate.set()
    return (await asyncio.gather(*tasks, return_exceptions=True))[1:]


def test_those_that_wait_run_together_and_get_their_own_rows(
    graph: Graph, pool: ThreadPoolExecutor
) -> None:
    queue = batcher(graph, pool)
    answers = asyncio.run(running(queue, graph, rows(1), rows(2, 3), rows(4)))
    assert graph.batches == [1, 4]
    assert [a["y"].ravel().tolist() for a in answers] == [[2], [3, 4], [5]]


def test_nothing_waits_while_the_graph_is_idle(graph: Graph, pool: ThreadPoolExecutor) -> None:
    async def one_after_the_other() -> None:
        queue = batcher(graph, pool)
        for _ in range(3):
            await queue.submit(rows(1), 1)

    asyncio.run(one_after_the_other())
    assert graph.batches == [1, 1, 1]


def test_batches_keep_to_the_limit_and_a_larger_request_runs_alone(
    graph: Graph, pool: ThreadPoolExecutor
) -> None:
    queue = batcher(graph, pool, max_rows=3)
    requests = [rows(1, 2), rows(3), rows(4), rows(*range(5)), rows(6)]
    answers = asyncio.run(running(queue, graph, *requests))
    assert graph.batches == [1, 3, 1, 5, 1]
    assert answers[3]["y"].ravel().tolist() == [1, 2, 3, 4, 5]


def test_a_poison_request_among_64_fails_alone(graph: Graph, pool: ThreadPoolExecutor) -> None:
    queue = batcher(graph, pool, max_rows=64)
    requests = [rows(-1 if n == 17 else n) for n in range(64)]
    answers = asyncio.run(running(queue, graph, *requests))
    for number, answer in enumerate(answers):
        if number == 17:
            assert isinstance(answer, ArithmeticError)
        else:
            assert answer["y"].item() == number + 1


def test_different_shapes_never_share_a_batch(graph: Graph, pool: ThreadPoolExecutor) -> None:
    queue = batcher(graph, pool)
    wide = {"x": np.zeros((1, 5), np.float32)}
    answers = asyncio.run(running(queue, graph, rows(1), wide, rows(2), wide))
    assert graph.batches == [1, 2, 2]
    assert [a["y"].shape for a in answers] == [(1, 1), (1, 5), (1, 1), (1, 5)]


def test_a_full_queue_is_refused_and_the_others_are_not_hurt(
    graph: Graph, pool: ThreadPoolExecutor
) -> None:
    queue = batcher(graph, pool, max_pending=2)
    answers = asyncio.run(running(queue, graph, rows(1), rows(2), rows(3)))
    assert isinstance(answers[2], Overloaded)
    assert [a["y"].item() for a in answers[:2]] == [2, 3]
    assert queue.pending == 0


def test_a_caller_that_leaves_is_not_computed(graph: Graph, pool: ThreadPoolExecutor) -> None:
    async def leaving() -> list[float]:
        queue = batcher(graph, pool)
        graph.gate.clear()
        first, gone, stays = (asyncio.create_task(queue.submit(rows(n), 1)) for n in range(3))
        await asyncio.sleep(0.02)
        gone.cancel()
        graph.gate.set()
        return [(await task)["y"].item() for task in (first, stays)]

    assert asyncio.run(leaving()) == [1, 3]
    assert graph.batches == [1, 1]


def test_a_caller_that_leaves_makes_room_at_once(graph: Graph, pool: ThreadPoolExecutor) -> None:
    async def leaving() -> tuple[int, float]:
        queue = batcher(graph, pool, max_pending=1)
        graph.gate.clear()
        first, gone = (asyncio.create_task(queue.submit(rows(n), 1)) for n in range(2))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.wait({gone})
        left = queue.pending
        next_one = asyncio.create_task(queue.submit(rows(2), 1))
        await asyncio.sleep(0.02)
        graph.gate.set()
        await first
        return left, (await next_one)["y"].item()

    assert asyncio.run(leaving()) == (0, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(-1, 50), min_size=1, max_size=6), max_size=30),
    st.integers(1, 12),
    st.integers(1, 3),
)
def test_everybody_gets_what_they_would_have_got_alone(
    requests: list[list[int]], max_rows: int, slots: int
) -> None:
    graph = Graph()
    with ThreadPoolExecutor(slots) as pool:
        queue = Batcher("m", graph, pool, max_rows, 1000, slots)
        answers = asyncio.run(running(queue, graph, *(rows(*r) for r in requests)))
    for request, answer in zip(requests, answers, strict=True):
        if min(request) < 0:
            assert isinstance(answer, ArithmeticError)
        else:
            assert answer["y"].ravel().tolist() == [n + 1 for n in request]
    assert queue.pending == 0
