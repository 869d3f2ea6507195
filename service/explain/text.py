r"""LIME for texts: hide words, predict, fit, judge.

For the same seed and predict function the weights, intercept, R² and local prediction are bit
for bit those of `lime` 0.2.0.1's `LimeTextExplainer`, which is asked about the very same texts.
Explanations by single characters (`char_level`) are not offered. What differs is named in
`corrections`:

- `quality-per-label`: upstream overwrites R² and local prediction with each label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.metrics import pairwise_distances

from service.errors import ExplanationError, InvalidParameter
from service.explain.conclude import conclude, parameters
from service.explain.explanation import sha256
from service.explain.feature_config import FeatureConfig
from service.explain.feature_explanation import Feature, FeatureExplanation
from service.explain.scoring import Samples, refuse_size, score, state_digest
from service.explain.steps import Steps
from service.explain.surrogate import Surrogate
from service.explain.words import MASK, Hider, Words

__all__ = ["TextConfig", "explain_text"]

Predict = Callable[[list[str]], NDArray[np.floating[Any]]]

#: Upstream's kernel width, in hundredths of the cosine distance.
_KERNEL_WIDTH = 25.0
_UNMOVED = "hiding words hardly moves the score (spread {spread:.1g}); explain another output"


@dataclass(frozen=True, slots=True)
class TextConfig(FeatureConfig):
    r"""What to explain in a text and how; see also `FeatureConfig`.

    Args:
        bag: True = hiding a word removes it wherever it stands; False = each place of a word
            is a feature of its own, and `mask_string` stands in for it.
        split_expression: regular expression of what stands between words. Whoever may choose
            it may also choose one that takes for ever: offer it to the trusted only.
        mask_string: for hidden words, without `bag`; None = upstream's "UNKWORDZ".
        kernel_width: in hundredths of the cosine distance, > 0; None = 25.

    Raises:
        InvalidParameter: a value is outside its range.
    """

    bag: bool = True
    split_expression: str = r"\W+"
    mask_string: str | None = None

    def __post_init__(self) -> None:
        FeatureConfig.__post_init__(self)
        if self.bag and self.mask_string is not None:
            raise InvalidParameter(
                f"parameter 'mask_string': got {self.mask_string!r}, but a bag of words removes "
                "what it hides. Add bag false, or leave mask_string out."
            )


def explain_text(
    text: str,
    predict: Predict,
    config: TextConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> FeatureExplanation:
    """Explain a model's scores for one text.

    Args:
        text: any that holds a word.
        predict: n strings -> (n, K) finite floats, or (n,); n <= batch_size. It must score
            each string by itself.
        config: see `TextConfig`.
        progress: told (samples done, samples in all) after each batch; what it raises stops
            the explanation and passes through.
        deadline: `time.monotonic()` by which the answer must stand.

    Raises:
        InvalidParameter: a value is outside its range for this text and model.
        ExplanationError: this text cannot be explained in this way.
        DeadlineExceeded: `deadline` passed; checked between steps and batches.
    Source: Ribeiro et al. 2016, arXiv:1602.04938; lime 0.2.0.1, lime_text.py.
    """
    steps = Steps(deadline, config.num_samples, progress)
    words = Words.of(text, config.split_expression, config.bag)
    if not words.names:
        raise ExplanationError(
            f"text: got {len(text)} characters without a word, wanted at least one word between "
            f"what {config.split_expression!r} matches. Send a text with words."
        )
    num_features = config.features_of(len(words.names), "words")
    width = config.kernel_width or _KERNEL_WIDTH
    samples = draw(config.num_samples, len(words.names), config.seed)
    steps.end("sample")
    mask = "" if config.bag else MASK if config.mask_string is None else config.mask_string
    hider = Hider(words, mask)
    scores = score(
        lambda start, stop: hider.texts(samples.data[start:stop]),
        config.num_samples,
        predict,
        config.batch_size,
        steps.batch,
    )
    steps.record(compose=scores.compose_s, predict=scores.predict_s)
    surrogate = Surrogate(samples.data, samples.distances, width, config.feature_selection)
    judged, quality = conclude(surrogate, scores.values, config, num_features, _UNMOVED)
    steps.end("surrogate")
    digests = {
        "text": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "samples": sha256(samples.data),
        "scores": sha256(scores.values),
        "rng_state": samples.state_sha256,
    }
    steps.end("digest")
    return FeatureExplanation(
        modality="text",
        features=tuple(
            Feature(name, name, name, spans)
            for name, spans in zip(words.names, words.spans, strict=True)
        ),
        explanations=judged,
        quality=quality,
        parameters=parameters(
            config,
            judged,
            num_features=num_features,
            kernel_width=width,
            distance="cosine x 100",
            bag=config.bag,
            split_expression=config.split_expression,
            mask_string=mask,
        ),
        corrections=("quality-per-label",) if len(judged) > 1 else (),
        warnings=(),
        digests=digests,
        seed=config.seed,
        samples_used=config.num_samples,
        stop_reason="num_samples reached",
        timings=steps.seconds(),
    )


def draw(num_samples: int, words: int, seed: int) -> Samples:
    """Draw which words each text shows, exactly as upstream does for this seed.

    Args:
        num_samples: N, rows, the text itself included.
        words: D, columns.
        seed: of a Mersenne Twister, 0 to 2³²-1.

    Raises:
        InvalidParameter: N x D is too large.
    Source: lime 0.2.0.1, lime_text.py, `__data_labels_distances`.
    """
    refuse_size("num_samples x words", num_samples, words)
    state = np.random.RandomState(seed)
    sizes = state.randint(1, words + 1, num_samples - 1).tolist()
    shown = np.ones((num_samples, words), np.uint8)
    order, ordered = np.arange(words), np.arange(words)
    for row, size in zip(shown[1:], sizes, strict=True):
        # What `choice` without replacement draws: the head of a whole permutation.
        order[:] = ordered
        state.shuffle(order)
        row[order[:size]] = 0
    return Samples(shown, _distances(shown), state_digest(state))


def _distances(shown: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Cosine distance x 100 of each row from row 0, which shows everything.

    It depends on how many words are shown alone, to the last bit: upstream sums equal terms.
    So it is computed once for each number.
    """
    _, first, which = np.unique(
        shown.sum(axis=1, dtype=np.int64), return_index=True, return_inverse=True
    )
    rows = csr_matrix(shown[np.append(0, first)].astype(np.float64))
    each = pairwise_distances(rows, rows[0], metric="cosine").ravel() * 100
    distances: NDArray[np.float64] = each[1:][which]
    return distances
