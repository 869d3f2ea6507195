"""From probabilities to a verdict, worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.tasks.classify import Classifier
from tests.test_store import manifest_of, write_identity_graph


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    graph = tmp_path / "identity.onnx"
    write_identity_graph(graph)
    return Classifier(manifest_of(graph))  # labels: good, bad


@pytest.mark.parametrize(
    ("rows", "labels", "confidence"),
    [
        ([[0.9, 0.1]], ["good"], [0.9]),
        ([[0.2, 0.8]], ["bad"], [0.8]),
        ([[0.5, 0.5]], ["good"], [0.5]),  # the first of equals
        ([[0.1, 0.9], [1.0, 0.0]], ["bad", "good"], [0.9, 1.0]),
    ],
)
def test_the_most_probable_label_and_its_probability(
    classifier: Classifier, rows: list[list[float]], labels: list[str], confidence: list[float]
) -> None:
    probabilities = np.array(rows, np.float32)
    answer = classifier.answer({"probabilities": probabilities})
    assert list(answer) == ["probabilities", "label", "confidence"]
    assert answer["label"].tolist() == labels
    assert answer["label"].dtype == object
    assert answer["confidence"].dtype == np.float32
    assert answer["confidence"].tolist() == pytest.approx(confidence)
