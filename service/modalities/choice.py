"""Which modality a model's inputs are explained in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from service.errors import ExplanationError, InvalidParameter
from service.explain.parameters import ExplainParameters
from service.modalities.modality import ExplainedModel, InputExplainer
from service.modalities.picture import PictureExplainer
from service.modalities.sequence import WindowExplainer
from service.modalities.state import StateExplainer
from service.modalities.table import RowExplainer
from service.modalities.text import TextExplainer
from service.modalities.translation import TranslationExplainer
from service.modalities.unexplained import refuse_unexplained

_EXPLAINERS: dict[str, type[InputExplainer]] = {
    explainer.modality: explainer
    for explainer in (PictureExplainer, RowExplainer, TextExplainer, WindowExplainer)
}


def explainer_of(
    model: ExplainedModel,
    inputs: Mapping[str, NDArray[Any]],
    row: int,
    parameters: ExplainParameters,
) -> InputExplainer:
    """The explainer of one row of a prediction.

    Args:
        model: the one that made it.
        inputs: the prediction's inputs by name, batch on axis 0.
        row: which row, from 0.
        parameters: what was asked for; the model's defaults fill the rest.

    Raises:
        ExplanationError: the model declares no explainer, or one that its inputs do not fit.
        InvalidParameter: there is no such row, or a value is outside its range.
    """
    refuse_unexplained(model.manifest)
    defaults = model.manifest.explainer
    if defaults is None:
        raise ExplanationError(
            f"{model.manifest.reference}: its manifest declares no explainer. Release it with one."
        )
    rows = len(next(iter(inputs.values())))
    if row >= rows:
        raise InvalidParameter(
            f"explain parameters: row: got {row}, but the prediction has {rows} rows."
        )
    if model.manifest.task == "act":
        return StateExplainer(model, inputs, row, parameters)
    if model.manifest.task == "translate":
        return TranslationExplainer(model, inputs, row, parameters)
    return _EXPLAINERS[defaults.modality](model, inputs, row, parameters)
