import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ExplanationError, InvalidParameter
from service.explain.perturb import Composer, background, sample_masks
from service.explain.scoring import score


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    channels=st.integers(1, 5),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    rows=st.integers(1, 20),
    hide_color=st.one_of(st.none(), st.integers(0, 255)),
)
def test_pictures_are_what_upstreams_indexing_writes(
    seed: int, channels: int, height: int, width: int, rows: int, hide_color: int | None
) -> None:
    draw = np.random.default_rng(seed)
    image = draw.integers(0, 256, (channels, height, width)).astype(np.uint8)
    labels = np.unique(draw.integers(0, 9, (height, width)), return_inverse=True)[1]
    labels = labels.reshape(height, width).astype(np.int32)
    shown = draw.integers(0, 2, (rows, labels.max() + 1))
    # Upstream, word for word but for the position of the channel axis.
    last = image.transpose(1, 2, 0)
    fudged = last.copy()
    if hide_color is None:
        for x in np.unique(labels):
            means = [np.mean(last[labels == x][:, c]) for c in range(channels)]
            fudged[labels == x] = tuple(means)
    else:
        fudged[:] = hide_color
    expected = []
    for row in shown:
        temp = last.copy()
        mask = np.isin(labels, np.where(row == 0)[0])
        temp[mask] = fudged[mask]
        expected.append(temp.transpose(2, 0, 1))
    hidden = background(image, labels, hide_color)
    assert np.array_equal(hidden, fudged.transpose(2, 0, 1))
    composer = Composer(image, hidden, labels, rows)
    assert np.array_equal(composer.compose(shown), np.array(expected))


def test_masks_are_the_generators_third_draw_onwards() -> None:
    state = np.random.RandomState(42)
    state.randint(0, 1000)
    expected = state.randint(0, 2, 60).reshape(10, 6)
    expected[0] = 1
    masks = sample_masks(10, 6, 42)
    assert np.array_equal(masks.shown, expected)
    assert masks.state_sha256 == sample_masks(10, 6, 42).state_sha256
    assert masks.state_sha256 != sample_masks(10, 7, 42).state_sha256


def test_masks_of_more_samples_begin_with_those_of_fewer() -> None:
    assert np.array_equal(sample_masks(500, 7, 1).shown[:90], sample_masks(90, 7, 1).shown)


def test_masks_too_large_for_memory_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="Lower num_samples to at most 100000"):
        sample_masks(1_000_000, 1000, 0)


def composer() -> Composer:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    labels = (np.arange(12, dtype=np.int32) // 6).reshape(3, 4)
    return Composer(image, background(image, labels, 0), labels, 4)


def test_one_buffer_serves_every_batch_and_the_last_may_be_short() -> None:
    seen, done = [], []

    def predict(batch: np.ndarray) -> np.ndarray:
        seen.append((batch.ctypes.data, len(batch)))
        return batch.reshape(len(batch), -1).astype(np.float32)

    shown = sample_masks(10, 2, 0).shown
    pictures = composer()
    scores = score(lambda a, b: pictures.compose(shown[a:b]), 10, predict, 4, done.append)
    assert [rows for _, rows in seen] == [4, 4, 2]
    assert len({address for address, _ in seen}) == 1
    assert done == [4, 8, 10]
    assert scores.values.dtype == np.float32
    picture = np.arange(12)
    assert np.array_equal(scores.values, np.repeat(shown, 6, axis=1) * picture)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda b: np.zeros((len(b), 1, 1)), r"\(4, 1, 1\), wanted floats of shape \(4, any\)"),
        (lambda b: np.zeros((len(b) + 1, 2)), r"shape \(5, 2\)"),
        (lambda b: np.zeros((len(b), 0)), r"shape \(4, 0\)"),
        (lambda b: np.zeros((len(b), 2), np.int64), "got int64"),
        (lambda b: np.full((len(b), 2), np.nan), "got NaN or infinity"),
        (lambda b: np.zeros((len(b), len(b))), r"shape \(2, 2\), wanted floats of shape \(2, 4\)"),
    ],
)
def test_an_answer_that_is_not_a_score_a_class_is_refused(answer: object, message: str) -> None:
    with pytest.raises(ExplanationError, match=message):
        score(lambda a, b: np.zeros((b - a, 12)), 10, answer, 4, lambda _: None)


def test_the_only_output_of_a_model_may_come_without_an_axis() -> None:
    scores = score(lambda a, b: np.arange(a, b), 5, lambda b: b / 2, 2, lambda _: None)
    assert scores.values.tolist() == [[0.0], [0.5], [1.0], [1.5], [2.0]]
