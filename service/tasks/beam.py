"""Beam search: the most probable sequences that a step at a time can find.

The hypotheses of all rows advance as one batch. A hypothesis that has written END leaves the
beam and keeps its place in the row's answer, so that a beam of one is greedy decoding exactly.
Sources: Sutskever, Vinyals and Le 2014, arXiv:1409.3215, sec. 3.2; length penalty: Wu et al. 2016,
arXiv:1609.08144, sec. 7, eq. 14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.tasks.subwords import BEGIN, END, PAD

#: What no translation holds.
_NEVER = (PAD, BEGIN)
Arrays = Mapping[str, NDArray[Any]]


class Stepper(Protocol):
    """A decoder that knows its sources."""

    @property
    def first_state(self) -> NDArray[np.float32]:
        """(rows, D), the state of each source before its first step."""

    def step(
        self, token: NDArray[np.int64], state: NDArray[np.float32], row: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Advance m hypotheses by a token.

        Args:
            token: (m,), the last one of each; BEGIN first.
            state: (m, D).
            row: (m,), which source each one belongs to.

        Returns:
            Log-probabilities (m, V) in nats, which the search writes on, the new state (m, D),
            attention (m, S).
        """


@dataclass(slots=True)
class Hypothesis:
    """A sequence on its way.

    Attributes:
        tokens: written so far, END among them once it has ended.
        log_probability: of all of them, in nats.
        score: of one that is done: `log_probability` over the length penalty.
        attention: of each token over the source, (S,) each.
    """

    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    score: float = 0.0
    attention: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass(slots=True)
class _Beam:
    """The hypotheses of one row: those alive, and those done, which are `width` together."""

    alive: list[Hypothesis]
    done: list[Hypothesis]


def penalty(tokens: int, alpha: float) -> float:
    """What a log-probability of so many tokens is divided by: ((5 + n) / 6) ** alpha, >= 1."""
    return float(((5 + tokens) / 6) ** alpha)


def search(
    decoder: Stepper, rows: int, width: int, alpha: float, longest: int, best: int = 1
) -> list[list[Hypothesis]]:
    """Find the best sequences of every row.

    Args:
        decoder: what makes the steps.
        rows: sources that it knows, >= 1.
        width: of the beam, >= 1; 1 = greedy.
        alpha: of the length penalty, >= 0; 0 = none.
        longest: tokens of a sequence, END counted, >= 1; one that has not ended by then is cut.
        best: how many are wanted, 1 to `width`. A row whose first ones are settled ends early.

    Returns:
        For each row its `best` hypotheses, the highest score first; fewer where there are none.
    """
    beams = [_Beam([Hypothesis()], []) for _ in range(rows)]
    state = decoder.first_state
    token = np.full(rows, BEGIN, np.int64)
    row = np.arange(rows)
    for _ in range(longest):
        log_probabilities, new_state, attention = decoder.step(token, state, row)
        log_probabilities[:, _NEVER] = -np.inf
        parents = _advance(beams, row, log_probabilities, attention, width, alpha)
        _end_settled(beams, parents, best, alpha, longest)
        kept = [(at, parent) for at in range(rows) for parent in parents[at]]
        if not kept:
            break
        row = np.array([at for at, _ in kept])
        state = new_state[[parent for _, parent in kept]]
        token = np.array([one.tokens[-1] for beam in beams for one in beam.alive], np.int64)
    for beam in beams:
        for one in beam.alive:
            one.score = one.log_probability / penalty(len(one.tokens), alpha)
    return [sorted([*beam.done, *beam.alive], key=lambda one: -one.score)[:best] for beam in beams]


def _advance(
    beams: list[_Beam],
    row: NDArray[np.intp],
    log_probabilities: NDArray[np.float32],
    attention: NDArray[np.float32],
    width: int,
    alpha: float,
) -> list[list[int]]:
    """Replace what is alive by its best continuations; what ends among them is done.

    Returns:
        For each row, where each hypothesis now alive came from: a place in the batch.
    """
    tokens, values = _best(log_probabilities, width)
    parents: list[list[int]] = [[] for _ in beams]
    starts = np.searchsorted(row, np.arange(len(beams) + 1))
    for at, beam in enumerate(beams):
        start, stop = int(starts[at]), int(starts[at + 1])
        if start == stop:
            continue
        before = np.array([one.log_probability for one in beam.alive])
        totals = before[:, None] + values[start:stop]
        order = np.argsort(-totals, axis=None, kind="stable")[: width - len(beam.done)]
        alive = []
        for which, place in zip(*np.unravel_index(order, totals.shape), strict=True):
            total = float(totals[which, place])
            if total == -np.inf:
                break
            old, parent = beam.alive[which], start + int(which)
            one = Hypothesis(
                [*old.tokens, int(tokens[parent, place])], total, 0.0,
                [*old.attention, attention[parent]],
            )  # fmt: skip
            if one.tokens[-1] == END:
                one.score = total / penalty(len(one.tokens), alpha)
                beam.done.append(one)
            else:
                alive.append(one)
                parents[at].append(parent)
        beam.alive = alive
    return parents


def _best(values: NDArray[np.float32], width: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The `width` highest of each row: their places and themselves, the first of equals first.

    One maximum after the other, each of which is struck out of `values`: for beams that are
    narrow beside the vocabulary that is several times as fast as a partition.
    """
    width = min(width, values.shape[1])
    rows = np.arange(len(values))
    places = np.empty((len(values), width), np.intp)
    found = np.empty((len(values), width))
    for at in range(width):
        places[:, at] = values.argmax(axis=1)
        found[:, at] = values[rows, places[:, at]]
        values[rows, places[:, at]] = -np.inf
    return places, found


def _end_settled(
    beams: list[_Beam], parents: list[list[int]], best: int, alpha: float, longest: int
) -> None:
    """End the rows whose `best` first hypotheses nothing alive can reach any more.

    A log-probability only falls, and the penalty is at most that of the longest sequence.
    """
    for at, beam in enumerate(beams):
        if not beam.alive or len(beam.done) < best:
            continue
        reach = max(one.log_probability for one in beam.alive) / penalty(longest, alpha)
        if sorted(one.score for one in beam.done)[-best] >= reach:
            beam.alive, parents[at] = [], []
