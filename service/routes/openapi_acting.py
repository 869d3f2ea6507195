"""Bodies of `act` in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from service.routes.openapi_tensors import ANSWERED

_STATE: Final = {
    "description": "Numbers in the manifest's order, or an object of feature name to number.",
    "oneOf": [
        {"type": "array", "items": {"type": "number"}, "minItems": 1},
        {"type": "object", "additionalProperties": {"type": "number"}},
    ],
}
_NAMES: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_NUMBERS: Final = {"type": "array", "items": {"type": "number"}, "minItems": 1}


def _for_each(one: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "description": f"{description} One list for all states, or a list of lists.",
        "anyOf": [one, {"type": "array", "items": one, "minItems": 1}],
    }


_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "Echoed in the answer."},
        "state": _STATE,
        "states": {"type": "array", "items": _STATE, "minItems": 1},
        "legal": _for_each(_NAMES, "Names of the legal actions; all of them if absent."),
        "noise": _for_each(
            _NUMBERS,
            "Added to the preferences, a number an action; 0 if absent. Of standard Gumbel noise "
            "comes a sample.",
        ),
    },
    "oneOf": [{"required": ["state"]}, {"required": ["states"]}],
    "additionalProperties": False,
}
#: Beside the action and its number, all are null in a fail-safe: no graph has decided.
_ACT: Final[dict[str, Any]] = {
    "action": {"type": "string", "description": "What to do."},
    "action_number": {"type": "integer"},
    "preference": {
        "type": ["object", "null"],
        "additionalProperties": {"type": "number"},
        "description": "Q-value or log-probability of every action, illegal ones too.",
    },
    "safe_default": {
        "type": ["boolean", "null"],
        "description": "Whether it is the default, because the state is unlike training's.",
    },
    "outside": {
        "type": ["number", "null"],
        "minimum": 0,
        "description": "How far outside what training saw, in widths of the feature's range.",
    },
    "outside_feature": {"type": ["string", "null"], "description": "The furthest; null within."},
}
_RESPONSE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["model_name", "model_version", "parameters"],
    "properties": {
        **ANSWERED,
        **_ACT,
        "actions": {
            "type": "array",
            "items": {"type": "object", "required": list(_ACT), "properties": _ACT},
            "description": "Where several states were sent: one for each.",
        },
    },
}


def act_paths(errors: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    """OpenAPI path items of `act`.

    Args:
        errors: what any route may answer besides its success.
    """
    record = {"id": "$response.body#/parameters/record_id"}
    answer: dict[str, Any] = {
        "description": "Done.",
        "content": {"application/json": {"schema": _RESPONSE}},
        "links": {
            f"{operation}_of_record_id": {"operationId": operation, "parameters": record}
            for operation in ("record", "explain_record")
        },
    }
    paths: dict[str, Any] = {}
    for middle, names in (("", ("model",)), ("/versions/{version}", ("model", "version"))):
        paths[f"/v2/models/{{model}}{middle}/act"] = {
            "post": {
                "summary": "What a policy does in a state, or in several",
                "tags": ["acting"],
                "operationId": f"act{'_version' if middle else ''}",
                "parameters": [
                    {
                        "name": name,
                        "in": "path",
                        "required": True,
                        "description": f"{name.capitalize()}, as the model repository has it.",
                        "schema": {"type": "string"},
                    }
                    for name in names
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _REQUEST}},
                },
                "responses": {"200": answer, **errors},
            }
        }
    return paths
