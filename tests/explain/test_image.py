"""Bad input, deadlines, quality and storing of whole image explanations."""

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import Conflict, DeadlineExceeded, ExplanationError, InvalidParameter
from service.explain.image import ImageConfig, ImageExplanation, explain_image
from service.explain.quality import effective_sample_size, split_top, verdict

SIDE = 30


def picture(channels: int = 1) -> NDArray[np.uint8]:
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (channels, SIDE, SIDE)).astype(np.uint8)


def corner(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Three scores: brightness of the upper left grid cell, of the lower right, and nothing."""
    first = images[:, :, :6, :6].mean(axis=(1, 2, 3)) / 255
    last = images[:, :, -6:, -6:].mean(axis=(1, 2, 3)) / 255
    return np.stack([0.1 + first, last, np.full(len(images), 0.05)], axis=1)


def explained(**changes: Any) -> ImageExplanation:
    asked = {"segmentation": "grid", "hide_color": 0, "num_samples": 400, **changes}
    return explain_image(picture(), corner, ImageConfig(**asked))


@pytest.mark.parametrize(("target", "segment"), [(0, 0), (1, 24)])
def test_the_segment_that_the_scorer_reads_is_found(target: int, segment: int) -> None:
    one = explained(target=target).explanations[0]
    assert one.label == target
    found, weight = one.weights[0]
    assert found == segment
    brightness = one.score - (0.1 if target == 0 else 0.0)
    assert weight == pytest.approx(brightness, rel=0.03)  # ridge pulls it a little to zero
    assert all(abs(other) < 0.02 for _, other in one.weights[1:])
    assert one.verdict == "stable" or one.r2 > 0.99


def test_top_labels_come_by_falling_score_each_with_its_own_quality() -> None:
    answer = explained(top_labels=2, labels=("upper", "lower", "none"))
    assert [one.name for one in answer.explanations] == ["upper", "lower"]
    assert answer.explanations[0].score >= answer.explanations[1].score
    assert answer.explanations[0].local_prediction != answer.explanations[1].local_prediction
    assert "quality-per-label" in answer.corrections
    assert answer.of(1).label == 1
    with pytest.raises(InvalidParameter, match="got 2, but the labels explained are"):
        answer.of(2)


def test_a_score_that_nothing_moves_says_so() -> None:
    answer = explained(target=2)
    assert answer.quality.verdict.startswith("nothing to explain")


def test_same_request_same_bits_and_another_seed_other_masks() -> None:
    first, again, other = explained(), explained(), explained(seed=1)
    assert first.digests == again.digests
    assert first.explanations == again.explanations
    assert first.digests["masks"] != other.digests["masks"]
    assert first.digests["segments"] == other.digests["segments"]


@pytest.mark.parametrize("batch_size", [1, 7, 400, 5000])
def test_batch_size_changes_no_bit(batch_size: int) -> None:
    assert explained(batch_size=batch_size).explanations == explained().explanations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "'num_samples': got 0, wanted 10 to 1000000"),
        ({"num_samples": 10**9}, "'num_samples': got 1000000000, wanted 10 to 1000000"),
        ({"num_samples": 100.0}, "'num_samples': got 100.0, wanted a whole number"),
        ({"num_features": 0}, "'num_features': got 0, wanted at least 1"),
        ({"num_features": 26}, "'num_features': got 26, but 'grid' found 25 segments"),
        ({"target": 3}, "'target': got 3, wanted 0 to 2"),
        ({"target": -1}, "'target': got -1, wanted at least 0"),
        ({"top_labels": 4}, "'top_labels': got 4, wanted 1 to 3"),
        ({"target": 0, "top_labels": 2}, "'top_labels': got 2, wanted 1 to 1"),
        ({"seed": -1}, "'seed': got -1"),
        ({"seed": 2**32}, "'seed': got 4294967296"),
        ({"hide_color": 256}, "'hide_color': got 256, wanted 0 to 255"),
        ({"hide_color": True}, "'hide_color': got True, wanted a whole number"),
        ({"batch_size": 0}, "'batch_size': got 0"),
        ({"kernel_width": 0.0}, "'kernel_width': got 0.0, wanted more than 0"),
        ({"kernel_width": float("nan")}, "'kernel_width': got nan"),
        ({"segmentation": "watershed"}, "'segmentation': got 'watershed'"),
    ],
)
def test_parameters_out_of_range_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        explained(**changes)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((30, 30), np.uint8),
        np.zeros((1, 30, 30), np.float32),
        np.zeros((1, 0, 30), np.uint8),
    ],
)
def test_what_is_not_a_picture_is_refused(image: NDArray[Any]) -> None:
    with pytest.raises(ExplanationError, match="wanted uint8 of shape"):
        explain_image(image, corner, ImageConfig())


def test_a_passed_deadline_stops_before_the_model_is_asked() -> None:
    asked = []
    with pytest.raises(DeadlineExceeded, match="step 'segment' done"):
        explain_image(picture(), asked.append, ImageConfig(), deadline=time.monotonic() - 1)
    assert asked == []


def test_a_deadline_stops_between_batches_and_progress_counts_them() -> None:
    told: list[tuple[int, int]] = []

    def slow(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        time.sleep(0.05)
        return corner(images)

    config = ImageConfig(segmentation="grid", num_samples=1000, batch_size=10)
    with pytest.raises(DeadlineExceeded, match="of 1000 samples scored"):
        explain_image(
            picture(),
            slow,
            config,
            progress=lambda done, total: told.append((done, total)),
            deadline=time.monotonic() + 0.3,
        )
    assert told[:2] == [(10, 1000), (20, 1000)]
    assert len(told) < 20


def test_what_progress_raises_passes_through() -> None:
    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt(f"{done} of {total}")

    with pytest.raises(KeyboardInterrupt, match="64 of 1000"):
        explain_image(picture(), corner, ImageConfig(segmentation="grid"), progress=cancel)


def test_a_stored_explanation_comes_back_whole() -> None:
    answer = explained(top_labels=2)
    stored = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    again = ImageExplanation.from_parts(stored, answer.arrays())
    assert again.to_json() == stored
    assert again.explanations == answer.explanations
    assert np.array_equal(again.segments, answer.segments)
    weights = answer.arrays()["weights"]
    assert weights.shape == (2, 25)
    assert [weights[0, s] for s, _ in answer.explanations[0].weights] == [
        w for _, w in answer.explanations[0].weights
    ]


def test_a_changed_segment_or_another_schema_is_refused() -> None:
    answer = explained()
    arrays = answer.arrays()
    changed = arrays["segments"].copy()
    changed[0, 0] += 1
    with pytest.raises(Conflict, match="was changed or belongs to another"):
        ImageExplanation.from_parts(answer.to_json(), {**arrays, "segments": changed})
    with pytest.raises(Conflict, match="its segments are missing"):
        ImageExplanation.from_parts(answer.to_json(), {})
    with pytest.raises(Conflict, match="schema 'glassline.explanation/0'"):
        ImageExplanation.from_parts({"schema": "glassline.explanation/0"}, arrays)


def test_effective_sample_size_by_hand() -> None:
    assert effective_sample_size(np.array([1.0, 1.0, 1.0, 1.0])) == 4
    assert effective_sample_size(np.array([2.0, 1.0, 1.0])) == pytest.approx(16 / 6)


@pytest.mark.parametrize(
    ("num_features", "segments", "top"), [(10, 60, 5), (3, 60, 3), (10, 6, 3), (1, 2, 1)]
)
def test_the_halves_are_compared_by_at_most_half_of_the_segments(
    num_features: int, segments: int, top: int
) -> None:
    assert split_top(num_features, segments) == top


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "stable"),
        ({"r2": 0.21}, "surrogate does not fit: R² 0.21"),
        ({"r2": 0.35}, "rough fit: R² 0.35, trust the order more than the sizes"),
        ({"stability": 0.43}, "unstable: raise num_samples"),
        ({"num_samples": 100}, "too few samples: raise num_samples to at least 600"),
        ({"r2": 0.1, "stability": 0.2}, "surrogate does not fit: R² 0.10; unstable: raise num_"),
        ({"spread": 0.001}, "nothing to explain: hiding segments hardly moves the score"),
    ],
)
def test_verdicts(figures: dict[str, Any], words: str) -> None:
    good = {"score": 0.8, "spread": 0.2, "r2": 0.8, "stability": 0.67, "num_samples": 1000}
    assert verdict(**{**good, "segments": 60, **figures}).startswith(words)


def test_explaining_imports_neither_torch_nor_matplotlib() -> None:
    script = (
        "import sys, service.explain.image, service.explain.report\n"
        "sys.exit(str([m for m in ('torch', 'matplotlib') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
