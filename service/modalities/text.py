"""Texts: words are hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from service.explain.feature_explanation import FeatureExplanation
from service.explain.parameters import ExplainParameters
from service.explain.text import TextConfig, explain_text
from service.explain.words import MASK, Hider, Words
from service.modalities.modality import (
    ExplainedModel,
    Explanation,
    Hide,
    InputExplainer,
    Progress,
)

#: Texts that go to the graph together.
BATCH = 256


class TextExplainer(InputExplainer):
    """Explains a text by its words; see `InputExplainer`."""

    modality: ClassVar[str] = "text"
    own: ClassVar[frozenset[str]] = frozenset({"bag", "mask_string"})

    def __init__(
        self,
        model: ExplainedModel,
        inputs: Mapping[str, NDArray[Any]],
        row: int,
        parameters: ExplainParameters,
    ) -> None:
        super().__init__(model, inputs, row, parameters)
        first = model.manifest.inputs[0].name
        self._name = self.only("OU", "BYTES with one text a row", self.row[first].ndim)
        self._shape = self.row[first].shape[1:]
        if self.row[first].size != 1:
            self.only("", "BYTES with one text a row", self.row[first].ndim)
        text = self.row[first].ravel()[0]
        self._text = text.decode() if isinstance(text, bytes) else str(text)
        self._config = TextConfig(
            **self.asked,
            num_features=parameters.num_features,
            usual_features=self.defaults.num_features,
            batch_size=BATCH,
            bag=parameters.bag,
            mask_string=parameters.mask_string,
        )

    @property
    def subject(self) -> Mapping[str, NDArray[Any]]:
        """The text, as an array of one string."""
        return {"text": np.array([self._text])}

    @property
    def config(self) -> TextConfig:
        """What the engine was asked."""
        return self._config

    def one(
        self, config: TextConfig, progress: Progress | None, deadline: float
    ) -> FeatureExplanation:
        """See `explain_text`."""
        return explain_text(self._text, self._predict, config, progress=progress, deadline=deadline)

    def hider(self, found: Explanation) -> Hide:  # noqa: ARG002 - pictures need it
        """Hidden words are gone, or masked, as the explanation had them."""
        config = self._config
        words = Words.of(self._text, config.split_expression, config.bag)
        mask = "" if config.bag else MASK if config.mask_string is None else config.mask_string
        texts = Hider(words, mask).texts

        def hide(masks: NDArray[np.int64]) -> NDArray[np.floating[Any]]:
            hidden = texts(masks.astype(np.uint8))
            parts = [self._predict(hidden[at : at + BATCH]) for at in range(0, len(hidden), BATCH)]
            return np.concatenate(parts)

        return hide

    def _predict(self, texts: Sequence[str]) -> NDArray[np.floating[Any]]:
        batch = np.array(texts, dtype=object).reshape(len(texts), *self._shape)
        return self.scores(self._name, batch)
