"""Beam search against every sequence that there is, and against decoding that knows no beam."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.tasks.beam import Hypothesis, penalty, search
from service.tasks.subwords import BEGIN, END, PAD

VOCABULARY = 7  # the four special tokens and three more
WRITABLE = [token for token in range(VOCABULARY) if token not in (PAD, BEGIN)]


class Table:
    """A decoder whose every distribution hangs on its source and on the whole prefix."""

    def __init__(self, seed: int, rows: int, peak: float = 2.0) -> None:
        self.seed, self.peak = seed, peak
        self.first_state = np.zeros((rows, 1), np.float32)
        self.batches: list[int] = []

    def distribution(self, row: int, prefix: float) -> NDArray[np.float32]:
        random = np.random.default_rng([self.seed, row, int(prefix)])
        logits = random.normal(0, self.peak, VOCABULARY)
        return (logits - np.log(np.exp(logits).sum())).astype(np.float32)

    def step(self, token: Any, state: Any, row: Any) -> Any:
        self.batches.append(len(token))
        # The prefix as a number in base V: the state remembers all of it.
        state = state * VOCABULARY + token[:, None].astype(np.float32)
        made = [self.distribution(r, s) for r, s in zip(row, state[:, 0], strict=True)]
        attention = np.full((len(token), 2), 0.5, np.float32)
        return np.array(made), state, attention

    def log_probability(self, row: int, tokens: tuple[int, ...]) -> float:
        total, prefix = 0.0, float(BEGIN)
        for token in tokens:
            total += float(self.distribution(row, prefix)[token])
            prefix = prefix * VOCABULARY + token
        return total


def every_sequence(longest: int) -> list[tuple[int, ...]]:
    """All that end, and all that are cut."""
    others = [token for token in WRITABLE if token != END]
    ended = [
        (*words, END)
        for length in range(longest)
        for words in itertools.product(others, repeat=length)
    ]
    return ended + list(itertools.product(others, repeat=longest))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_as_wide_as_all_sequences_finds_the_best_of_them(seed: int, alpha: float) -> None:
    longest, rows = 4, 2
    table, sequences = Table(seed, rows), every_sequence(longest)
    assert len(sequences) == 341  # 4^0 + 4^1 + 4^2 + 4^3 that end, 4^4 that are cut
    found = search(table, rows, width=len(sequences), alpha=alpha, longest=longest, best=5)
    for row in range(rows):
        scores = {
            one: table.log_probability(row, one) / penalty(len(one), alpha) for one in sequences
        }
        best = sorted(sequences, key=lambda one: -scores[one])[:5]
        assert [tuple(one.tokens) for one in found[row]] == best
        assert [one.score for one in found[row]] == pytest.approx([scores[b] for b in best])


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 4), peak=st.sampled_from([0.1, 1.0, 4.0]))
@settings(max_examples=60, deadline=None)
def test_a_beam_of_one_is_greedy_decoding(seed: int, rows: int, peak: float) -> None:
    table, longest = Table(seed, rows, peak), 6
    found = search(table, rows, width=1, alpha=0.6, longest=longest)
    for row in range(rows):
        tokens: list[int] = []
        prefix = float(BEGIN)
        while len(tokens) < longest and END not in tokens:
            distribution = table.distribution(row, prefix)
            distribution[[PAD, BEGIN]] = -np.inf
            tokens.append(int(distribution.argmax()))
            prefix = prefix * VOCABULARY + tokens[-1]
        assert found[row][0].tokens == tokens
        assert found[row][0].log_probability == pytest.approx(
            table.log_probability(row, tuple(tokens))
        )


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 4),
    width=st.integers(1, 6),
    alpha=st.sampled_from([0.0, 0.6, 1.5]),
)
@settings(max_examples=80, deadline=None)
def test_rows_are_searched_as_if_they_were_alone(
    seed: int, rows: int, width: int, alpha: float
) -> None:
    def told(found: list[Hypothesis]) -> list[tuple[list[int], float]]:
        return [(one.tokens, one.score) for one in found]

    together = search(Table(seed, rows), rows, width, alpha, 6, best=width)
    for row in range(rows):

        class Alone(Table):
            def distribution(self, at: int, prefix: float) -> NDArray[np.float32]:
                return super().distribution(at + row, prefix)  # noqa: B023

        alone = search(Alone(seed, 1), 1, width, alpha, 6, best=width)
        assert told(together[row]) == told(alone[0])


@given(seed=st.integers(0, 10_000), width=st.integers(1, 6), alpha=st.sampled_from([0.0, 1.0]))
@settings(max_examples=80, deadline=None)
def test_ending_early_changes_nothing_in_the_first_ones(
    seed: int, width: int, alpha: float
) -> None:
    """Who wants all of the beam never ends early."""
    early = search(Table(seed, 1), 1, width, alpha, 8, best=1)[0]
    whole = search(Table(seed, 1), 1, width, alpha, 8, best=width)[0]
    assert early[0].tokens == whole[0].tokens
    assert [one.score for one in whole] == sorted((one.score for one in whole), reverse=True)
    assert len({tuple(one.tokens) for one in whole}) == len(whole)


def test_the_beams_of_all_rows_advance_as_one_batch() -> None:
    table = Table(3, 5, peak=0.1)
    search(table, 5, width=4, alpha=0.6, longest=6, best=4)
    assert table.batches[0] == 5, "before the first token all hypotheses of a row are one"
    assert table.batches[1] > 15
    assert len(table.batches) <= 6, "one call a step, however many rows and hypotheses"


def test_the_penalty_is_that_of_the_paper() -> None:
    # Wu et al. 2016, eq. 14: ((5 + |Y|) / (5 + 1)) ** alpha
    assert penalty(1, 0.6) == 1
    assert penalty(7, 1.0) == 2
    assert penalty(19, 0.5) == 2
    assert penalty(100, 0.0) == 1


def test_a_longer_answer_wins_once_the_penalty_is_high_enough() -> None:
    class Two(Table):
        """END at once with probability .5, or a token and then END: .4."""

        def distribution(self, _row: int, prefix: float) -> NDArray[np.float32]:
            given = [1e-9] * VOCABULARY
            given[END], given[4] = (0.5, 0.4) if prefix == BEGIN else (0.999, 1e-9)
            return np.log(np.array(given)).astype(np.float32)

    def best(alpha: float) -> list[int]:
        return search(Two(0, 1), 1, width=3, alpha=alpha, longest=4)[0][0].tokens

    assert best(0.0) == [END]  # ln .5 = -.69 against ln .4 = -.92
    assert best(2.0) == [4, END]  # -.92 / (7/6)^2 = -.67


def test_attention_is_kept_for_each_token() -> None:
    found = search(Table(1, 2), 2, width=3, alpha=0.6, longest=5, best=3)
    for one in itertools.chain(*found):
        assert len(one.attention) == len(one.tokens)
