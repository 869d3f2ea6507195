"""A text explained: what is said of it, and what is refused and how."""

import json
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import DeadlineExceeded, ExplanationError, InvalidParameter
from service.explain.feature_explanation import FeatureExplanation
from service.explain.text import TextConfig, explain_text
from service.explain.words import Hider, Words

TEXT = "The weld is cracked, the seam is fine: cracked!"


def cracks(texts: list[str]) -> NDArray[np.float64]:
    """0.4 for each "cracked", less 0.1 for "fine"."""
    return np.array([0.4 * text.count("cracked") - 0.1 * ("fine" in text) for text in texts])


def test_a_bag_of_words_counts_a_word_once_for_all_its_places() -> None:
    ours = explain_text(TEXT, cracks, TextConfig(num_samples=3000))
    (first, weight), (second, less) = ours.reasons()[:2]
    assert (first, second) == ("cracked", "fine")
    assert (weight, less) == pytest.approx((0.8, -0.1), abs=0.01)
    cracked = ours.features[ours.of().weights[0][0]]
    assert [TEXT[start:stop] for start, stop in cracked.spans] == ["cracked", "cracked"]
    assert ours.of().r2 > 0.999


def test_where_order_counts_each_place_has_its_own_weight() -> None:
    ours = explain_text(TEXT, cracks, TextConfig(num_samples=3000, bag=False))
    (_, one), (_, other), (third, _) = ours.reasons()[:3]
    assert (one, other) == pytest.approx((0.4, 0.4), abs=0.01)
    assert third == "fine"
    places = {ours.features[at].spans for at, _ in ours.of().weights[:2]}
    assert places == {((12, 19),), ((39, 46),)}


@pytest.mark.parametrize(
    ("mask", "bag", "hidden", "expected"),
    [
        ("", True, [], "Maß, so: Maß!"),
        ("", True, [0], ", so: !"),
        ("", True, [0, 1], ", : !"),
        ("<?>", False, [2], "Maß, so: <?>!"),
        ("零", False, [0, 1, 2], "零, 零: 零!"),
    ],
)
def test_texts_with_words_hidden_worked_by_hand(
    mask: str, bag: bool, hidden: list[int], expected: str
) -> None:
    words = Words.of("Maß, so: Maß!", r"\W+", bag)
    shown = np.ones((1, len(words.names)), np.uint8)
    shown[0, hidden] = 0
    assert Hider(words, mask).texts(shown) == [expected]


def test_the_same_request_gives_the_same_answer_and_survives_json() -> None:
    config = TextConfig(num_samples=100, seed=5, batch_size=7)
    first = explain_text(TEXT, cracks, config)
    assert replace(first, timings={}) == replace(explain_text(TEXT, cracks, config), timings={})
    stored = FeatureExplanation.from_json(json.loads(json.dumps(first.to_json())))
    assert stored == first


def test_a_text_of_one_word_is_explained() -> None:
    ours = explain_text("cracked", cracks, TextConfig(num_samples=50))
    assert ours.reasons()[0][0] == "cracked"


@pytest.mark.parametrize(
    ("text", "wrong", "words"),
    [
        (TEXT, {"num_samples": 0}, "'num_samples': got 0"),
        (TEXT, {"num_samples": 10**9}, "'num_samples': got 1000000000"),
        (TEXT, {"num_features": 8}, "got 8, but there are 7 words. Ask for at most 7"),
        (TEXT, {"split_expression": "("}, "which is no regular expression"),
        (TEXT, {"split_expression": "( |,)+"}, "without groups that capture"),
        (TEXT, {"mask_string": "?"}, "a bag of words removes what it hides"),
        (TEXT, {"target": 1}, "'target': got 1, wanted 0 to 0"),
        ("word " * 20 + " ".join(map(str, range(200))), {"num_samples": 10**6}, "Lower num_sam"),
    ],
)
def test_parameters_outside_their_range_are_refused(
    text: str, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidParameter, match=words):
        explain_text(text, cracks, TextConfig(**wrong))


@pytest.mark.parametrize("text", ["", " ... !", "\n\t"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(ExplanationError, match="characters without a word"):
        explain_text(text, cracks, TextConfig())


def test_time_that_runs_out_ends_it() -> None:
    with pytest.raises(DeadlineExceeded, match="Lower num_samples"):
        explain_text(TEXT, cracks, TextConfig(), deadline=time.monotonic() - 1)
