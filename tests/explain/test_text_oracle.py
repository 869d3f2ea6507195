"""`lime` means lime: every figure equals upstream's LimeTextExplainer bit for bit."""

import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from lime.lime_text import LimeTextExplainer
from numpy.typing import NDArray

from service.explain.text import TextConfig, explain_text
from service.explain.words import Words
from tests.explain.upstream import said_by, said_by_us

WORDS = ["good", "bad", "not", "very", "Maß", "零件", "it's", "42", "UNKWORDZ", "a", "x\0"]
GAPS = [" ", "  ", ", ", "\n", "... ", "-", "\0", " 🙂 "]


class Reader:
    """Scores a text by the checksums of its words and of its neighbouring words."""

    def __init__(self, outputs: int, dtype: type) -> None:
        self.outputs, self.dtype = outputs, dtype
        self.read: list[str] = []

    def __call__(self, texts: list[str]) -> NDArray[np.floating[Any]]:
        self.read += texts
        return np.array([self._one(text) for text in texts], self.dtype)

    def _one(self, text: str) -> list[float]:
        parts = text.split()
        parts += [" ".join(pair) for pair in zip(parts, parts[1:], strict=False)]
        sums = [zlib.crc32(part.encode()) for part in parts]
        scores = [
            sum((one >> 3 * output) % 17 for one in sums) - 8.0 for output in range(self.outputs)
        ]
        return [1 / (1 + np.exp(-score / 20)) for score in scores]


@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
@pytest.mark.filterwarnings("ignore:Singular matrix:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# A failing case is small as drawn: shrinking it would take minutes.
@settings(max_examples=120, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(
        st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), min_size=1, max_size=40
    ),
    first=st.sampled_from(["", " ", "¡"]),
    bag=st.booleans(),
    split_expression=st.sampled_from([r"\W+", r"\s+", r"[ ,]", r"(?:\s|-)+"]),
    mask_string=st.sampled_from([None, "", "_", "…"]),
    selection=st.sampled_from(
        ["auto", "auto", "none", "forward_selection", "highest_weights", "lasso_path"]
    ),
    num_samples=st.integers(10, 200),
    num_features=st.one_of(st.none(), st.integers(1, 12)),
    kernel_width=st.one_of(st.none(), st.floats(5, 100)),
    choice=st.sampled_from(["top", "top 3", "target"]),
    batch_size=st.integers(1, 250),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_weights_are_upstreams_to_the_last_bit(
    seed: int,
    parts: list[tuple[str, str]],
    first: str,
    bag: bool,
    split_expression: str,
    mask_string: str | None,
    selection: str,
    num_samples: int,
    num_features: int | None,
    kernel_width: float | None,
    choice: str,
    batch_size: int,
    dtype: type,
) -> None:
    text = first + "".join(word + gap for word, gap in parts)
    count = len(Words.of(text, split_expression, bag).names)
    config = TextConfig(
        bag=bag,
        split_expression=split_expression,
        mask_string=None if bag else mask_string,
        num_samples=num_samples,
        num_features=None
        if selection == "none" or num_features is None
        else min(num_features, count),
        feature_selection=selection,
        kernel_width=kernel_width,
        target=1 if choice == "target" else None,
        top_labels=3 if choice == "top 3" else 1,
        seed=seed,
        batch_size=batch_size,
    )
    reader = Reader(4, dtype)
    ours = explain_text(text, reader, config)
    shown_to_ours, reader.read = reader.read, []
    target = {"labels": (1,)} if choice == "target" else {}
    theirs = LimeTextExplainer(
        kernel_width=ours.parameters["kernel_width"],
        feature_selection=ours.parameters["feature_selection"],
        split_expression=split_expression,
        bow=bag,
        mask_string=mask_string,
        random_state=seed,
    ).explain_instance(
        text,
        reader,
        top_labels=None if target else ours.parameters["top_labels"],
        num_features=ours.parameters["num_features"],
        num_samples=num_samples,
        **target,
    )
    assert shown_to_ours == reader.read
    assert said_by_us(ours) == said_by(theirs, ours)
