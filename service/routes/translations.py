"""What only translations have over HTTP: parameters of their own, and a picture of attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from service.errors import InvalidParameter, NotAcceptable
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.inference.translator import Translator
from service.protocol.request import InferRequest
from service.routes.negotiation import preferred
from service.routes.reply import JSON, Reply
from service.tasks.translate import Asked, own_parameters, refuse_others

PNG = "image/png"


def translates(model: LoadedModel) -> bool:
    """Whether the model's answers are translations."""
    return model.manifest.task == "translate"


def asked(
    request: InferRequest, model: LoadedModel, query: Mapping[str, str], *, attention: bool
) -> InferRequest:
    """The request with a translation's parameters as columns beside its texts.

    Args:
        request: valid for the model, its parameters as they came.
        model: that translates.
        query: parameters from the query string; they win over those of the body.
        attention: whether it is needed for the answer.

    Returns:
        The request whose `parameters` are those that are not a translation's own.

    Raises:
        InvalidParameter: a value is of the wrong type or outside its range.
        TensorMismatch: a text is empty, or too long.
    """
    own, rest = own_parameters({**request.parameters, **query}, model.manifest)
    named = request.outputs is not None and any(o.name == "attention" for o in request.outputs)
    own = own.model_copy(update={"attention": own.attention or named or attention})
    translator = model.session
    assert isinstance(translator, Translator)  # whoever calls has looked at the task
    inputs = {**translator.admit(request.inputs), **own.columns(request.rows)}
    return replace(request, inputs=inputs, parameters=rest)


def without_own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters but those of a translation: what is left for its explanation."""
    return {name: value for name, value in values.items() if name not in Asked.model_fields}


def refuse_elsewhere(query: Mapping[str, str], model: LoadedModel) -> None:
    """Refuse a translation's parameters where nothing is translated.

    Raises:
        InvalidParameter: there is one.
    """
    if own := sorted(name for name in query if name in Asked.model_fields):
        raise InvalidParameter(
            f"{model.manifest.reference}: parameters: got {', '.join(own)}, but this model can "
            f"{model.manifest.task}, not translate. Leave it out."
        )


def refuse_unknown(request: InferRequest, model: LoadedModel) -> None:
    """Refuse parameters that mean nothing to a translation.

    Raises:
        InvalidParameter: there is one.
    """
    refuse_others(request.parameters, model.manifest)


def wants_picture(accept: str) -> bool:
    """Whether the client would rather see the attention than read the answer."""
    if PNG not in accept.lower():
        return False
    try:
        return preferred(accept, (JSON, PNG)) == PNG
    except NotAcceptable:
        return False


def picture(prediction: Prediction, headers: dict[str, str]) -> Reply:
    """The attention of the first text's best translation, drawn."""
    from service.explain.attention import draw_attention
    from service.explain.render import png

    outputs = prediction.outputs
    written, source = (
        np.array([token for token in tokens if token], object)
        for tokens in (outputs["tokens"][0, 0], outputs["source_tokens"][0])
    )
    weights = outputs["attention"][0, 0, : len(written), : len(source)]
    body = png(draw_attention(weights, written.tolist(), source.tolist()))
    return Reply(body, PNG, {**headers, "vary": "accept"})
