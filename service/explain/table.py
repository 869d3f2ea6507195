"""LIME for a row of a table: perturb, predict, fit, judge.

For the same seed, statistics and predict function the weights, intercept, R² and local
prediction are bit for bit those of `lime` 0.2.0.1's `LimeTabularExplainer`, in both of its
modes: a regression is a model with one output, target 0. What differs from upstream is named
in `corrections`:

- `quality-per-label`: upstream overwrites R² and local prediction with each label.
- `tied-values-kept`: only with `keep_tied_values`; see `TableConfig`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError, InvalidParameter
from service.explain.background import TableBackground
from service.explain.conclude import conclude, parameters
from service.explain.explanation import sha256
from service.explain.feature_config import FeatureConfig
from service.explain.feature_explanation import Feature, FeatureExplanation
from service.explain.scoring import score
from service.explain.steps import Steps
from service.explain.surrogate import Surrogate
from service.explain.table_samples import draw

__all__ = ["TableBackground", "TableConfig", "explain_table"]

Predict = Callable[[NDArray[Any]], NDArray[np.floating[Any]]]

_UNMOVED = (
    "changing the columns hardly moves the score (spread {spread:.1g}); explain another output"
)


@dataclass(frozen=True, slots=True)
class TableConfig(FeatureConfig):
    """What to explain in a row and how; see also `FeatureConfig`.

    Args:
        discretizer: "quartile" or "decile" where the background has it; "none" explains by
            the numbers themselves, in standard deviations; "auto" = the background's first,
            or none.
        sample_around_row: without a discretizer, numbers are drawn around the row, not
            around the mean of the training data.
        keep_tied_values: upstream hands the model 0 for a bin that holds one value alone
            (many rows with the same smallest value do this); True hands it that value.
        kernel_width: in changed columns' square root, or standard deviations; None =
            0.75 √D.

    Raises:
        InvalidParameter: a value is outside its range.
    """

    discretizer: str = "auto"
    sample_around_row: bool = False
    keep_tied_values: bool = False

    def method(self, background: TableBackground) -> str:
        """The discretizer, resolved.

        Raises:
            InvalidParameter: the background has no such bins, or the rest does not go with it.
        """
        held = [str(name) for name in background.bins]
        method = (held or ["none"])[0] if self.discretizer == "auto" else self.discretizer
        if method not in (*held, "none"):
            raise InvalidParameter(
                f"parameter 'discretizer': got {self.discretizer!r}, but the model's background "
                f"statistics have {', '.join([*held, 'none'])}. Ask for one of these."
            )
        if self.sample_around_row and method != "none":
            raise InvalidParameter(
                "parameter 'sample_around_row': got true, but values are drawn within bins of "
                f"discretizer {method!r}. Add discretizer 'none', or leave it out."
            )
        if self.keep_tied_values and method == "none":
            raise InvalidParameter(
                "parameter 'keep_tied_values': got true, but there are no bins with "
                "discretizer 'none'. Leave it out."
            )
        return method


def explain_table(
    row: NDArray[Any],
    predict: Predict,
    background: TableBackground,
    config: TableConfig,
    *,
    dtype: type[np.floating[Any]] = np.float64,
    progress: Callable[[int, int], None] | None = None,
    deadline: float | None = None,
) -> FeatureExplanation:
    """Explain a model's scores for one row.

    Args:
        row: (D,) finite numbers.
        predict: (n, D) of `dtype` -> (n, K) finite floats, or (n,); n <= batch_size. It must
            score each row by itself and must not change its argument.
        background: statistics of the training data.
        config: see `TableConfig`.
        dtype: np.float64, what upstream hands to the model; or np.float32 for a model that
            rounds to it anyway: the same bits come out, sooner.
        progress: told (samples done, samples in all) after each batch; what it raises stops
            the explanation and passes through.
        deadline: `time.monotonic()` by which the answer must stand.

    Raises:
        InvalidParameter: a value is outside its range for this row and model.
        ExplanationError: this row cannot be explained in this way.
        DeadlineExceeded: `deadline` passed; checked between steps and batches.
    Source: Ribeiro et al. 2016, arXiv:1602.04938; lime 0.2.0.1, lime_tabular.py.
    """
    steps = Steps(deadline, config.num_samples, progress)
    checked = _checked(row, background)
    method = config.method(background)
    num_features = config.features_of(len(checked), "columns")
    width = config.kernel_width or float(np.sqrt(len(checked)) * 0.75)
    neighbours = draw(
        checked,
        background,
        method,
        num_samples=config.num_samples,
        seed=config.seed,
        around_row=config.sample_around_row,
        keep_tied=config.keep_tied_values,
        dtype=dtype,
    )
    samples, inputs = neighbours.samples, neighbours.inputs
    steps.end("sample")
    scores = score(
        lambda start, stop: inputs[start:stop],
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
        "row": sha256(checked),
        "background": background.sha256,
        "samples": sha256(samples.data),
        "scores": sha256(scores.values),
        "rng_state": samples.state_sha256,
    }
    steps.end("digest")
    corrections = ["quality-per-label"] if len(judged) > 1 else []
    return FeatureExplanation(
        modality="table",
        features=describe(checked, background, method),
        explanations=judged,
        quality=quality,
        parameters=parameters(
            config,
            judged,
            num_features=num_features,
            kernel_width=width,
            distance="euclidean",
            discretizer=method,
            sample_around_row=config.sample_around_row,
            keep_tied_values=config.keep_tied_values,
            input_dtype=np.dtype(dtype).name,
        ),
        corrections=(*corrections, *(["tied-values-kept"] if config.keep_tied_values else [])),
        warnings=_warnings(background, method, config),
        digests=digests,
        seed=config.seed,
        samples_used=config.num_samples,
        stop_reason="num_samples reached",
        timings=steps.seconds(),
    )


def describe(
    row: NDArray[np.float64], background: TableBackground, method: str
) -> tuple[Feature, ...]:
    """Each column in upstream's words: "width <= 2.00", "colour=red", or its name alone."""
    bins = next((bins for name, bins in background.bins.items() if name == method), {})
    features = []
    for column, (name, value) in enumerate(zip(background.names, row.tolist(), strict=True)):
        if column in background.categorical:
            kinds = background.categorical[column].names
            kind = kinds[int(value)] if 0 <= int(value) < len(kinds) else str(int(value))
            features.append(Feature(name, f"{name}={kind}", kind))
        else:
            words = bins[column].describe(name, value) if column in bins else name
            features.append(Feature(name, words, value))
    return tuple(features)


def _checked(row: NDArray[Any], background: TableBackground) -> NDArray[np.float64]:
    width = len(background.names)
    if row.ndim != 1 or row.dtype.kind not in "fiub" or len(row) != width:
        raise ExplanationError(
            f"row: got {row.dtype} of shape {row.shape}, but the background statistics have "
            f"{width} columns. Send one row with one number a column, or compute the "
            "background from this model's training data."
        )
    checked = np.ascontiguousarray(row, np.float64)
    for column in np.flatnonzero(~np.isfinite(checked)).tolist():
        raise ExplanationError(
            f"row: got {checked[column]} in column '{background.names[column]}', wanted a finite "
            "number. Fill the gap the way that the training data was filled."
        )
    for column in background.categorical:
        if checked[column] != np.rint(checked[column]):
            raise ExplanationError(
                f"row: got {checked[column]:g} in categorical column "
                f"'{background.names[column]}', wanted the whole number of its kind."
            )
    return checked


def _warnings(background: TableBackground, method: str, config: TableConfig) -> tuple[str, ...]:
    if method == "none" or config.keep_tied_values:
        return ()
    bins = next(bins for name, bins in background.bins.items() if name == method)
    return tuple(
        f"column '{background.names[column]}': its lowest bin holds {one.mins[0]:g} alone, and "
        "lime 0.2.0.1 hands the model 0 for it; keep_tied_values hands it the value"
        for column, one in bins.items()
        if one.mins[0] == one.maxs[0] != 0
    )
