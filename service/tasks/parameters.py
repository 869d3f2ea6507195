"""Parameters that one task alone has: how they are read, and that nothing else is overheard."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from service.errors import InvalidParameter
from service.manifest import Manifest

#: Parameters of the protocol itself, which say nothing about the answer.
_PROTOCOL = frozenset({"binary_data_output", "priority", "timeout"})
_Parameters = TypeVar("_Parameters", bound=BaseModel)


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


#: Text from a query string is read as a number; true and false are none.
Number = BeforeValidator(_number)


def read_own(
    kind: type[_Parameters], values: Mapping[str, Any], manifest: Manifest
) -> tuple[_Parameters, dict[str, Any]]:
    """Take a task's own parameters out of a request's.

    Args:
        kind: a model whose fields are the task's parameters.
        values: parameter name -> JSON value or query-string text.
        manifest: of the model that is asked.

    Returns:
        The task's own, and what is left: the protocol's parameters and whatever else there is.

    Raises:
        InvalidParameter: a value is of the wrong type or outside its range.
    """
    own = {name: value for name, value in values.items() if name in kind.model_fields}
    try:
        asked = kind.model_validate(own)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, got {e['input']!r:.80}"
            for e in error.errors()
        )
        raise InvalidParameter(f"{manifest.reference}: parameters: {problems}.") from None
    return asked, {name: value for name, value in values.items() if name not in own}


def refuse_others(values: Mapping[str, Any], manifest: Manifest, known: Collection[str]) -> None:
    """Refuse what means nothing to the task, so that nobody believes that it was heeded.

    Raises:
        InvalidParameter: there is such a parameter.
    """
    if unknown := sorted(set(values) - _PROTOCOL):
        raise InvalidParameter(
            f"{manifest.reference}: parameters: got {', '.join(unknown):.200}, wanted some of "
            f"{', '.join(known)}. Leave out what is not among them."
        )
