"""What only translations have over HTTP: parameters of their own, and a picture of attention."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import ClassVar

import numpy as np

from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.inference.translator import Translator
from service.protocol.request import InferRequest
from service.tasks.translate import Asked, own_parameters


class Translations:
    """See `TaskRoutes`."""

    names: ClassVar[Collection[str]] = tuple(Asked.model_fields)

    def asked(
        self, request: InferRequest, model: LoadedModel, max_rows: int, *, seen: bool
    ) -> InferRequest:
        """Beam and length as columns beside the texts; who sees the answer sees attention."""
        _ = max_rows  # the codecs have counted the texts
        own, rest = own_parameters(request.parameters, model.manifest)
        named = request.outputs is not None and any(o.name == "attention" for o in request.outputs)
        own = own.model_copy(update={"attention": own.attention or named or seen})
        translator = model.session
        assert isinstance(translator, Translator)  # the manifest says so
        inputs = {**translator.admit(request.inputs), **own.columns(request.rows)}
        return replace(request, inputs=inputs, parameters=rest)

    def picture(self, prediction: Prediction) -> bytes:
        """The attention of the first text's best translation, drawn."""
        from service.explain.attention import draw_attention
        from service.explain.render import png

        outputs = prediction.outputs
        written, source = (
            np.array([token for token in tokens if token], object)
            for tokens in (outputs["tokens"][0, 0], outputs["source_tokens"][0])
        )
        weights = outputs["attention"][0, 0, : len(written), : len(source)]
        return png(draw_attention(weights, written.tolist(), source.tolist()))
