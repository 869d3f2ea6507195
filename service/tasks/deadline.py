"""A model's latency budget: when its answer is late, and what is answered then.

An answer is late when it is not there so many milliseconds after its request came in, whatever it
waited for: the body, the decoding, the queue, the graph. Then it is not waited for: the fail-safe
is answered, and says that it is one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from service.errors import DeadlineExceeded, Unavailable
from service.manifest import Manifest
from service.policy import ACTION_NUMBER, LEGAL
from service.settings import Deadline, FailSafeValue
from service.tasks.anomaly import ANOMALY, NORMAL

Arrays = Mapping[str, NDArray[Any]]
#: The output that says what is decided, where that is a word.
_DECIDES: Final = {"anomaly": "verdict", "classify": "label", "act": "action"}
_FLOATS: Final = {"FP32": np.float32, "FP64": np.float64}


@dataclass(frozen=True, slots=True)
class Late:
    """An answer that was not there in time.

    Attributes:
        ms: the budget.
        waited_ms: from the arrival of the request until the answer was there, or given up.
        fail_safe: what was answered instead; None = nothing, the model's own answer was waited for.
    """

    ms: float
    waited_ms: float
    fail_safe: FailSafeValue | None

    def said(self) -> dict[str, Any]:
        """As the caller is told, among the parameters of the answer."""
        told: dict[str, Any] = {"deadline_missed": True, "deadline_ms": self.ms}
        return told if self.fail_safe is None else {**told, "fail_safe": self.fail_safe}

    def recorded(self) -> dict[str, Any]:
        """As the record has it."""
        value = self.fail_safe
        return {
            "missed": True,
            "ms": self.ms,
            "waited_ms": round(self.waited_ms, 3),
            "fail_safe": list(value) if isinstance(value, tuple) else value,
        }


class FailSafe:
    """An answer of a model that needs no graph.

    Args:
        manifest: of the model.
        value: a detector's verdict, a classifier's label, a policy's action, or the values of a
            regression's first output: one number for all, or one for each.

    Raises:
        Unavailable: the model never answers that.
    """

    def __init__(self, manifest: Manifest, value: FailSafeValue) -> None:
        self.value = value
        row = _numbers if manifest.task == "regress" else _word
        #: the answer to one row
        self._row = row(manifest, value)

    def outputs(self, inputs: Arrays) -> dict[str, NDArray[Any]] | None:
        """The answer to a request: the outputs that say what is decided, and no other.

        Args:
            inputs: of the request, valid for the model, n rows.

        Returns:
            `verdict`, `label` or `action` (n,) BYTES, beside an action its `action_number` (n,)
            INT64, or the values (n, k); None where the action is not legal in every state.
        """
        action = self._row.get(ACTION_NUMBER)
        if action is not None and not inputs[LEGAL][:, action].all():
            return None
        rows = len(next(iter(inputs.values())))
        return {name: np.repeat(row, rows, axis=0) for name, row in self._row.items()}


def _word(manifest: Manifest, value: FailSafeValue) -> dict[str, NDArray[Any]]:
    words: tuple[str, ...] = ()
    if manifest.task == "anomaly":
        words = (ANOMALY, NORMAL)
    elif manifest.policy is not None:
        words = manifest.policy.actions
    elif manifest.task == "classify":
        words = manifest.labels
    if value not in words:
        _refuse(manifest, value, f"one of {', '.join(words)}" if words else "none for this task")
    row: dict[str, NDArray[Any]] = {_DECIDES[manifest.task]: np.array([value], object)}
    if manifest.policy is not None:
        row[ACTION_NUMBER] = np.array([words.index(str(value))], np.int64)
    return row


def _numbers(manifest: Manifest, value: FailSafeValue) -> dict[str, NDArray[Any]]:
    tensor = manifest.outputs[0]
    shape, kind = tensor.shape[1:], _FLOATS.get(tensor.datatype)
    of = f"output '{tensor.name}', {tensor.datatype} {tensor.shape}"
    if kind is None or min(shape, default=1) < 1:
        _refuse(manifest, value, f"none, for {of}")
    numbers = None if isinstance(value, str) else np.asarray(value, kind)
    if numbers is None or numbers.shape not in ((), shape):
        _refuse(manifest, value, f"a number, or one for each value of {of}")
    return {tensor.name: np.broadcast_to(numbers, (1, *shape))}


def _refuse(manifest: Manifest, value: FailSafeValue, wanted: str) -> NoReturn:
    raise Unavailable(
        f"{manifest.reference}: GLASSLINE_DEADLINES: fail_safe: got {value!r:.80}, wanted {wanted}."
    )


def decided(manifest: Manifest, outputs: Arrays) -> list[str]:
    """What a fail-safe decides of each row, in words; empty where it is numbers."""
    name = _DECIDES.get(manifest.task)
    return [] if name is None else [str(one) for one in outputs[name]]


class LatencyBudget:
    """The latency budget of one model.

    Where no fail-safe is set, that of a detector is `anomaly`, and that of a policy the action that
    it was released with as its default; other models have none. Without one a late answer is waited
    for, and says that it is late.

    Args:
        manifest: of the model.
        deadline: as the settings have it.

    Raises:
        Unavailable: see `FailSafe`.
    """

    __slots__ = ("_seconds", "_where", "fail_safe", "ms", "refuses")

    def __init__(self, manifest: Manifest, deadline: Deadline) -> None:
        self.ms = deadline.ms
        #: whether a late answer is an error instead
        self.refuses = deadline.refuse
        self._seconds = deadline.ms / 1000
        self._where = manifest.reference
        value = deadline.fail_safe
        if value is None and not deadline.refuse:
            value = _default(manifest)
        self.fail_safe = None if value is None else FailSafe(manifest, value)

    def left(self, arrived: float) -> float:
        """Seconds that are left of a request's budget; below 0 when it is over.

        Args:
            arrived: `time.perf_counter()` when the request came in.
        """
        return arrived + self._seconds - time.perf_counter()

    async def wait(self, work: asyncio.Future[Any], arrived: float) -> bool:
        """Wait for an answer for as long as it can be in time.

        Args:
            work: the answer to come; it is neither cancelled nor looked at.
            arrived: see `left`.

        Returns:
            Whether it is there. If not, the budget is over.
        """
        # Once is not enough: uvloop's timers count in whole milliseconds, rounded, and an answer
        # given up before its deadline would be on record as late when it was not.
        while not work.done() and (left := self.left(arrived)) > 0:
            await asyncio.wait({work}, timeout=left)
        return work.done()

    def waits(self, inputs: Arrays) -> bool:
        """Whether a late answer to these inputs is waited for, because nothing stands in for it."""
        return not self.refuses and self._stand_in(inputs) is None

    def settle(
        self, inputs: Arrays, outputs: dict[str, NDArray[Any]] | None, arrived: float
    ) -> tuple[dict[str, NDArray[Any]], Late | None]:
        """What is answered: the model's outputs where they are in time, else what stands in.

        Args:
            inputs: of the request.
            outputs: of the model; None = it has not answered.
            arrived: see `left`.

        Returns:
            The outputs, and how late they are; None = in time.

        Raises:
            DeadlineExceeded: they are late, and a late answer is to be an error.
        """
        waited = time.perf_counter() - arrived
        if outputs is not None and waited <= self._seconds:
            return outputs, None
        if self.refuses:
            raise DeadlineExceeded(
                f"{self._where}: not answered within {self.ms:g} ms, its latency budget. Send less "
                "at once, or raise it or name a fail-safe in GLASSLINE_DEADLINES."
            )
        stand_in = self._stand_in(inputs)
        if stand_in is not None and self.fail_safe is not None:
            return stand_in, Late(self.ms, waited * 1000, self.fail_safe.value)
        assert outputs is not None  # whoever asks has waited; see `waits`
        return outputs, Late(self.ms, waited * 1000, None)

    def _stand_in(self, inputs: Arrays) -> dict[str, NDArray[Any]] | None:
        return None if self.fail_safe is None else self.fail_safe.outputs(inputs)


def _default(manifest: Manifest) -> FailSafeValue | None:
    if manifest.task == "anomaly":
        return ANOMALY
    return manifest.policy.default if manifest.policy is not None else None
