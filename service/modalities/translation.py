"""Translations: the score of the one that was chosen, by the words of its source."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from service.errors import InvalidParameter
from service.explain.evidence import NativeEvidence
from service.inference.translator import CHOSEN
from service.modalities.text import TextExplainer

#: What is explained: how sure the model is of the very translation that it gave.
SCORE = "score"


class TranslationExplainer(TextExplainer):
    """Explains how sure a translator is of its best translation; see `InputExplainer`.

    Words of the source are hidden, and the model is asked how probable the same translation is
    then: what it would translate instead says nothing about this one.
    """

    modality: ClassVar[str] = "text"

    def _explained(self) -> tuple[str, tuple[str, ...]]:
        if self.parameters.output not in (None, SCORE):
            raise InvalidParameter(
                f"explain parameters: output: got {self.parameters.output!r:.80}, but of a "
                f"translation its '{SCORE}' is explained. Leave it out."
            )
        row = dict(self._row)
        row["attention"] = np.ones(1, np.bool_)
        found = self.model.predict(row)
        pieces = found["tokens"][0, 0]
        length = int((pieces != "").sum())
        self._evidence = NativeEvidence(
            "attention",
            "attention",
            found["attention"][0, 0, :length],
            tuple(pieces[:length]),
            tuple(found["source_tokens"][0]),
        )
        self._row[CHOSEN] = found["token_numbers"][:1, 0, :length]
        return SCORE, (str(found["text"][0, 0]),)

    def evidence(self) -> tuple[NativeEvidence, ...]:
        """What each token of the translation was attended to with."""
        return (self._evidence,)
