"""What stands in for a late answer, by kind of answer, and when an answer is late."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
import uvloop
from pydantic import ValidationError

from service.errors import DeadlineExceeded, Unavailable
from service.manifest import Manifest, Tensor
from service.settings import Deadline
from service.tasks.deadline import FailSafe, LatencyBudget
from tests.policies import manifest_of

POLICY = manifest_of()
LEGAL = np.ones((2, 3), np.bool_)
STATES = {"observation": np.zeros((2, 2), np.float32), "legal": LEGAL}


def classifier() -> Manifest:
    return POLICY.model_copy(
        update={"task": "classify", "policy": None, "labels": ("good", "bad"), "name": "parts"}
    )


def regression(shape: tuple[int, ...] = (-1, 2)) -> Manifest:
    value = Tensor(name="value", datatype="FP32", shape=shape)
    return POLICY.model_copy(update={"task": "regress", "policy": None, "outputs": (value,)})


def test_an_action_comes_with_its_number() -> None:
    said = FailSafe(POLICY, "wait").outputs(STATES)
    assert said is not None
    assert said["action"].tolist() == ["wait", "wait"]
    assert said["action_number"].tolist() == [2, 2]


def test_an_action_that_is_illegal_in_a_state_stands_in_for_nothing() -> None:
    illegal = LEGAL.copy()
    illegal[1, 2] = False
    assert FailSafe(POLICY, "wait").outputs({**STATES, "legal": illegal}) is None
    budget = LatencyBudget(POLICY, Deadline(ms=5, fail_safe="wait"))
    assert budget.waits({**STATES, "legal": illegal})
    assert not budget.waits(STATES)


@pytest.mark.parametrize(("value", "row"), [(3.5, [3.5, 3.5]), ((1.0, 2.0), [1.0, 2.0])])
def test_numbers_are_one_for_all_or_one_for_each(value: Any, row: list[float]) -> None:
    said = FailSafe(regression(), value).outputs({"x": np.zeros((3, 4))})
    assert said is not None
    assert said["value"].dtype == np.float32
    assert said["value"].tolist() == [row] * 3


@pytest.mark.parametrize(
    ("manifest", "value", "wanted"),
    [
        (POLICY, "fly", "one of run, stop, wait"),
        (classifier(), "scrap", "one of good, bad"),
        (classifier(), 1.0, "one of good, bad"),
        (regression(), "good", "a number, or one for each value of output 'value'"),
        (regression(), (1.0, 2.0, 3.0), "a number, or one for each"),
        (regression((-1, -1)), 1.0, "none, for output 'value', FP32"),
        (regression().model_copy(update={"task": "embed"}), 1.0, "none for this task"),
    ],
)
def test_what_a_model_never_answers_is_refused(manifest: Manifest, value: Any, wanted: str) -> None:
    with pytest.raises(Unavailable, match=f"GLASSLINE_DEADLINES: fail_safe: got .* {wanted}"):
        FailSafe(manifest, value)


@pytest.mark.parametrize(
    ("manifest", "fail_safe"), [(POLICY, "stop"), (classifier(), None), (regression(), None)]
)
def test_what_stands_in_where_nobody_says(manifest: Manifest, fail_safe: str | None) -> None:
    found = LatencyBudget(manifest, Deadline(ms=5)).fail_safe
    assert (found and found.value) == fail_safe


def test_an_answer_counts_from_the_arrival_of_its_request() -> None:
    budget = LatencyBudget(classifier(), Deadline(ms=1000, fail_safe="bad"))
    inputs, own = {"x": np.zeros((1, 2))}, {"label": np.array(["good"], object)}
    now = time.perf_counter()
    assert budget.settle(inputs, own, now - 0.1) == (own, None)
    said, late = budget.settle(inputs, own, now - 2)
    assert late is not None
    assert (said["label"].tolist(), late.fail_safe) == (["bad"], "bad")
    assert late.waited_ms == pytest.approx(2000, rel=0.1)
    said, late = budget.settle(inputs, None, now - 0.1)  # given up before it was there
    assert (said["label"].tolist(), late is not None) == (["bad"], True)


def test_a_budget_that_refuses_raises() -> None:
    budget = LatencyBudget(classifier(), Deadline(ms=5, refuse=True))
    assert not budget.waits({"x": np.zeros((1, 2))})
    with pytest.raises(DeadlineExceeded, match="parts@1: not answered within 5 ms"):
        budget.settle({"x": np.zeros((1, 2))}, {}, time.perf_counter() - 1)


@pytest.mark.parametrize(
    "said",
    [
        {"ms": 0}, {"ms": 5, "refuse": True, "fail_safe": "bad"}, {"ms": 5, "fail_safe": True},
        {"ms": 5, "fail_safe": float("nan")}, {"ms": 5, "fail-safe": "bad"},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Deadline.model_validate(said)


@pytest.mark.parametrize("ms", [0.3, 1.4, 5.4, 9.2])
def test_an_answer_is_not_given_up_before_its_deadline_whatever_the_loop_rounds_to(
    ms: float,
) -> None:
    budget = LatencyBudget(POLICY, Deadline(ms=ms))

    async def waited() -> float:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        arrived = time.perf_counter()
        assert not await budget.wait(never, arrived)
        return (time.perf_counter() - arrived) * 1000

    async def ten_times() -> list[float]:
        return [await waited() for _ in range(10)]

    assert min(uvloop.run(ten_times())) >= ms


def test_an_answer_that_is_there_is_not_waited_for() -> None:
    budget = LatencyBudget(POLICY, Deadline(ms=60_000))

    async def answered() -> bool:
        there = asyncio.get_running_loop().create_future()
        there.set_result(1)
        return await budget.wait(there, time.perf_counter())

    assert uvloop.run(answered())
