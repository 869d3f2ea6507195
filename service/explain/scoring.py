"""Have perturbed inputs of any kind scored, one batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError, InvalidParameter
from service.explain.explanation import sha256

Batch = TypeVar("Batch")
#: Most numbers that the matrix of samples or that of scores may hold.
MAX_CELLS = 100_000_000


@dataclass(frozen=True, slots=True)
class Samples:
    """What was drawn, as the surrogate sees it.

    `data` is (N, D) uint8 or float64, row 0 the input itself; `distances` (N,) from row 0;
    `state_sha256` digests the generator after the draws.
    """

    data: NDArray[Any]
    distances: NDArray[np.float64]
    state_sha256: str


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model said to every sample: `values` (N, K); the seconds of both halves."""

    values: NDArray[np.floating[Any]]
    compose_s: float
    predict_s: float


def refuse_size(what: str, rows: int, columns: int) -> None:
    """Raise InvalidParameter when a matrix would hold more than `MAX_CELLS` numbers."""
    if rows * columns > MAX_CELLS:
        raise InvalidParameter(
            f"{what}: {rows} x {columns} is {rows * columns}, more than {MAX_CELLS}. "
            f"Lower num_samples to at most {MAX_CELLS // columns}."
        )


def state_digest(state: np.random.RandomState) -> str:
    """Digest of a Mersenne Twister: 624 key words and the position, little-endian uint32."""
    _, key, position, *_ = state.get_state(legacy=True)
    return sha256(np.append(np.asarray(key, np.uint32), np.uint32(position)))


def score(
    make: Callable[[int, int], Batch],
    total: int,
    predict: Callable[[Batch], NDArray[np.floating[Any]]],
    batch_size: int,
    on_batch: Callable[[int], None],
    enough: Callable[[NDArray[np.floating[Any]]], bool] | None = None,
) -> Scores:
    """Score every sample, or as many as are enough; at most one batch of inputs is alive.

    Args:
        make: (start, stop) -> the perturbed inputs of these rows, valid until the next call.
        total: N.
        predict: a batch of n inputs -> (n, K) finite floats, or (n,) from a model with one
            output. It must score each input by itself and must not keep its argument.
        batch_size: inputs a call of `predict`.
        on_batch: told how many samples are done, after each batch; may raise to stop.
        enough: asked after each batch with all scores so far; True ends it.

    Returns:
        (N, K), fewer rows where they were enough, and the seconds that making and predicting took.

    Raises:
        ExplanationError: `predict` returns something else.
        InvalidParameter: N x K is too large.
    """
    values: NDArray[np.floating[Any]] | None = None
    make_s = predict_s = 0.0
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        began = perf_counter()
        batch = make(start, stop)
        made = perf_counter()
        answer = np.asarray(predict(batch))
        predict_s += perf_counter() - made
        make_s += made - began
        if answer.ndim == 1:
            answer = answer[:, np.newaxis]
        _check_answer(answer, stop - start, None if values is None else values.shape[1])
        if values is None:
            refuse_size("num_samples x outputs", total, answer.shape[1])
            values = np.empty((total, answer.shape[1]), answer.dtype)
        values[start:stop] = answer
        on_batch(stop)
        if enough is not None and enough(values[:stop]):
            values = values[:stop]
            break
    if values is None:
        raise ExplanationError("samples: got 0, wanted at least 1. Raise num_samples.")
    return Scores(values, make_s, predict_s)


def _check_answer(answer: NDArray[Any], rows: int, outputs: int | None) -> None:
    wanted = f"({rows}, {'any' if outputs is None else outputs})"
    fits = answer.ndim == 2 and answer.shape[0] == rows and answer.shape[1] > 0
    if not fits or answer.dtype.kind != "f" or outputs not in (None, answer.shape[1]):
        raise ExplanationError(
            f"predict: got {answer.dtype} of shape {answer.shape}, wanted floats of shape "
            f"{wanted}. Name a model output that holds scores."
        )
    if not np.isfinite(answer).all():
        raise ExplanationError(
            "predict: got NaN or infinity for a perturbed input, wanted finite scores. "
            "Check the model with this input and its background."
        )
