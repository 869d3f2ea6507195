"""Tables: columns are drawn anew from the training data's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError
from service.explain.background import TableBackground
from service.explain.feature_explanation import FeatureExplanation
from service.explain.parameters import ExplainParameters
from service.explain.table import TableConfig, explain_table
from service.modalities.modality import (
    ExplainedModel,
    Explanation,
    Hide,
    InputExplainer,
    Progress,
    batch_size,
)
from service.modalities.statistics import BACKGROUND, background_of

#: Rows that go to the graph together.
SMALLEST_BATCH, LARGEST_BATCH = 64, 4096


class RowExplainer(InputExplainer):
    """Explains a row of a table, (D,) floats, by its columns; see `InputExplainer`."""

    modality: ClassVar[str] = "table"
    own: ClassVar[frozenset[str]] = frozenset(
        {"discretizer", "sample_around_row", "keep_tied_values"}
    )

    def __init__(
        self,
        model: ExplainedModel,
        inputs: Mapping[str, NDArray[Any]],
        row: int,
        parameters: ExplainParameters,
    ) -> None:
        super().__init__(model, inputs, row, parameters)
        self._name = self.only("f", "FP32 or FP64 of shape (rows, columns)", 2)
        self._values = self.row[self._name][0]
        background = background_of(model)
        if background is None:
            raise ExplanationError(
                f"{model.manifest.reference}: it was released without the asset '{BACKGROUND}', "
                "the statistics that a table is explained by. Release it with them."
            )
        self._background = background
        self._config = table_config(self, self._values.nbytes)

    @property
    def subject(self) -> Mapping[str, NDArray[Any]]:
        """The row."""
        return {"row": self._values}

    @property
    def config(self) -> TableConfig:
        """What the engine was asked."""
        return self._config

    def one(
        self, config: TableConfig, progress: Progress | None, deadline: float
    ) -> FeatureExplanation:
        """See `explain_table`."""
        return explain_table(
            self._values,
            self._predict,
            self._background,
            config,
            dtype=np.float32 if self._values.dtype == np.float32 else np.float64,
            progress=progress,
            deadline=deadline,
        )

    def hider(self, found: Explanation) -> Hide:  # noqa: ARG002 - pictures need it
        """A hidden column has its usual value."""
        usual = typical(self._background).astype(self._values.dtype)
        return lambda masks: self._predict(np.where(masks == 1, self._values, usual))

    def _predict(self, rows: NDArray[Any]) -> NDArray[np.floating[Any]]:
        return self.scores(self._name, rows.astype(self._values.dtype, copy=False))


def table_config(explainer: InputExplainer, bytes_each: int) -> TableConfig:
    """What the table engine is asked, also about the steps of a sequence."""
    asked = explainer.parameters
    return TableConfig(
        **explainer.asked,
        num_features=asked.num_features,
        usual_features=explainer.defaults.num_features,
        batch_size=batch_size(bytes_each, SMALLEST_BATCH, LARGEST_BATCH),
        discretizer=asked.discretizer,
        sample_around_row=asked.sample_around_row,
        keep_tied_values=asked.keep_tied_values,
    )


def typical(background: TableBackground) -> NDArray[np.float64]:
    """(D,) what stands for a column that is not there: the mean, or the most frequent kind."""
    usual = np.array(background.means)
    for column, kinds in background.categorical.items():
        usual[column] = kinds.values[int(np.argmax(kinds.counts))]
    return usual
