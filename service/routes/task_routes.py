"""What only one task has over HTTP: parameters of its own, and an answer that is a picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar, Protocol

from service.errors import InvalidParameter, NotAcceptable
from service.explain.parameters import ExplainParameters
from service.inference.predictor import Prediction
from service.inference.registry import LoadedModel
from service.manifest import Manifest, Task
from service.protocol.request import InferRequest
from service.routes.generations import Generations
from service.routes.negotiation import preferred
from service.routes.reply import JSON, PNG
from service.routes.translations import Translations
from service.tasks.parameters import refuse_others


class TaskRoutes(Protocol):
    """What a task has besides tensors."""

    #: names of its parameters
    names: ClassVar[Collection[str]]

    def asked(
        self, request: InferRequest, model: LoadedModel, max_rows: int, *, seen: bool
    ) -> InferRequest:
        """The request with the task's own parameters as columns beside its tensors.

        Args:
            request: valid for the model, its parameters as they came.
            model: that is asked.
            max_rows: largest batch.
            seen: whether the answer is wanted as a picture.

        Returns:
            The request whose `parameters` are those that are not the task's own.

        Raises:
            InvalidParameter: a value is of the wrong type or outside its range.
            TensorMismatch: what was sent is nothing that the task can answer.
            NotAcceptable: the answer is no picture.
        """

    def picture(self, prediction: Prediction) -> bytes:
        """The answer as a PNG."""


_ROUTES: dict[Task, TaskRoutes] = {"translate": Translations(), "generate": Generations()}


def routes_of(manifest: Manifest) -> TaskRoutes | None:
    """What the model's task has of its own; None where it has nothing."""
    return _ROUTES.get(manifest.task)


def refuse_elsewhere(query: Mapping[str, str], manifest: Manifest) -> None:
    """Refuse parameters of another task, so that nobody believes that they were heeded.

    Raises:
        InvalidParameter: there is one.
    """
    for task, routes in _ROUTES.items():
        # Some mean something to explanations as well.
        foreign = sorted(
            name
            for name in query
            if name in routes.names and name not in ExplainParameters.model_fields
        )
        if foreign and task != manifest.task:
            raise InvalidParameter(
                f"{manifest.reference}: parameters: got {', '.join(foreign)}, but this model can "
                f"{manifest.task}, not {task}. Leave it out."
            )


def refuse_unknown(request: InferRequest, manifest: Manifest) -> None:
    """Refuse parameters that mean nothing to a task that has some of its own.

    Raises:
        InvalidParameter: there is one.
    """
    if (own := routes_of(manifest)) is not None:
        refuse_others(request.parameters, manifest, own.names)


def wants_picture(accept: str) -> bool:
    """Whether the client would rather look at the answer than read it."""
    if PNG not in accept.lower():
        return False
    try:
        return preferred(accept, (JSON, PNG)) == PNG
    except NotAcceptable:
        return False
