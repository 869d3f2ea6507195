"""Figures of an evaluation against other people's code and against values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from service.manifest import Provenance, Tensor
from training.candidate import Candidate, probabilities, values
from training.evaluation import classification, regression, reliability
from training.intervals import bootstrap, wilson
from training.scoring import Answered

LABELS = ("a", "b", "c")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    hits, rows = counts
    wanted = binomtest(hits, rows).proportion_ci(method="wilson")
    assert wilson(hits, rows) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_of_no_rows_nothing_is_known() -> None:
    assert wilson(0, 0) == (0, 1)


def test_bootstrap_intervals_hold_the_figure_and_do_not_change() -> None:
    rows = np.random.default_rng(1).normal(3, 2, size=(400, 1))
    low, high = bootstrap(rows, lambda some: float(some.mean()))
    assert (low, high) == bootstrap(rows, lambda some: float(some.mean()))
    # Of a mean the interval is two standard errors to either side.
    reach = 1.96 * rows.std() / 20
    assert low == pytest.approx(rows.mean() - reach, abs=0.03)
    assert high == pytest.approx(rows.mean() + reach, abs=0.03)


def candidate(task: str) -> Candidate:
    unknown = Provenance(
        script="", config={}, seed=0, git_revision="", trained_at="", seconds=0, data={},
        libraries={}, environment={},
    )  # fmt: skip
    return Candidate(
        name="x", family="x", task="classify" if task == "classify" else "regress", summary="",
        network=None,  # type: ignore[arg-type]
        inputs=(Tensor(name="row", datatype="FP32", shape=(-1, 1)),),
        outputs=(probabilities(3) if task == "classify" else values(["u", "v"], "um"),),
        rows={"row": np.zeros((1, 1), np.float32)},
        truth=np.zeros(1 if task == "classify" else (1, 2)),
        provenance=unknown, labels=LABELS if task == "classify" else (),
    )  # fmt: skip


def test_classes_are_as_scikit_learn_counts_them() -> None:
    random = np.random.default_rng(2)
    said = random.dirichlet([0.4, 0.4, 0.4], size=200)
    truth = random.integers(3, size=200)
    called = said.argmax(axis=1)
    got = classification(
        candidate("classify"),
        Answered(np.arange(200), {"probabilities": said}, truth, {}),
        None,
    )
    np.testing.assert_array_equal(got.confusion, confusion_matrix(truth, called))
    precision, recall, _, rows = precision_recall_fscore_support(truth, called)
    for at, one in enumerate(got.classes):
        assert (one.label, one.rows) == (LABELS[at], rows[at])
        assert (one.precision, one.recall) == pytest.approx((precision[at], recall[at]))
        assert one.recall is not None
        assert one.recall_interval.low < one.recall < one.recall_interval.high
        wrong = np.delete(got.confusion[at], at)
        assert one.taken_for is not None
        assert one.taken_for[1] == wrong.max()
    assert got.accuracy == pytest.approx((called == truth).mean())


def test_a_class_that_nobody_was_called_has_no_precision() -> None:
    said = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0]])
    answers = Answered(np.arange(2), {"probabilities": said}, np.array([0, 1]), {})
    first, second = classification(candidate("classify"), answers, None).classes
    assert (first.label, first.precision, first.recall) == ("a", 0.5, 1.0)
    assert (second.label, second.precision, second.recall) == ("b", None, 0.0)
    assert second.taken_for == ("a", 1)


def test_reliability_by_hand() -> None:
    # Four rows at 0.75, two of them right; two at 0.95, both right.
    said = np.array([[0.75, 0.25]] * 4 + [[0.05, 0.95]] * 2)
    got = reliability(said, np.array([0, 0, 1, 1, 1, 1]))
    assert got.confidence.tolist() == pytest.approx([0.75, 0.95])
    assert got.accuracy.tolist() == pytest.approx([0.5, 1.0])
    assert got.rows.tolist() == [4, 2]
    assert got.error == pytest.approx((4 * 0.25 + 2 * 0.05) / 6)


def test_certainty_is_in_the_last_bin() -> None:
    got = reliability(np.array([[1.0, 0.0]]), np.array([0]))
    assert (got.rows.tolist(), got.error) == ([1], 0)


def test_a_regression_has_intervals_around_its_errors() -> None:
    random = np.random.default_rng(3)
    truth = random.normal(size=(150, 2))
    said = truth + random.normal(0.1, 0.5, size=(150, 2))
    answers = Answered(np.arange(150), {"value": said}, truth, {"r2": 0.5})
    got = regression(candidate("regress"), answers)
    assert got.mae == pytest.approx(np.abs(said - truth).mean())
    assert got.rmse == pytest.approx(np.sqrt(np.square(said - truth).mean()))
    assert got.mae_interval.low < got.mae < got.mae_interval.high
    assert got.rmse_interval.low < got.rmse < got.rmse_interval.high
    assert (got.targets, got.unit) == (("u", "v"), "um")
