"""The OpenAPI document: FastAPI's control routes and, added here, the hot routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.explain.parameters import ExplainParameters
from service.routes.openapi_acting import act_paths
from service.routes.openapi_streams import stream_paths
from service.routes.openapi_tensors import BODY, INFER_RESPONSE, PICTURE
from service.routes.similar import MOST, USUAL
from service.tasks.generate import Asked as Generation
from service.tasks.translate import Asked as Translation

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string", "description": "where, got, wanted, remedy"}},
    "required": ["error"],
    "additionalProperties": False,
}
#: What any route may answer besides its success.
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "The request is refused; the message says why and what to do.",
        "content": {"application/json": {"schema": _ERROR}},
    },
    "5XX": {
        "description": "Not now: starting, overloaded, out of time, or a refused model.",
        "content": {"application/json": {"schema": _ERROR}},
    },
}
#: What `/v2/health/ready` says while `infer` cannot be asked for.
NOT_READY: dict[str, Any] = {
    "description": "Not ready.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "live": {"const": True},
                    "ready": {"const": False},
                    "error": {"type": "string", "description": "why, and what to do"},
                },
                "required": ["live", "ready", "error"],
                "additionalProperties": False,
            }
        }
    },
}
_V1 = {
    "type": "object",
    "required": ["instances"],
    "properties": {
        "instances": {
            "type": "array",
            "items": {},
            "minItems": 1,
            "description": "Values of the only input, or objects of input name to value.",
        },
        "parameters": {"type": "object"},
    },
}
_K = {
    "name": "k",
    "in": "query",
    "required": False,
    "description": "Neighbours of each row.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
}
_RECORD_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Record id.",
    "schema": {"type": "string"},
}

_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async` accepts the explanation for later (RFC 7240).",
    "schema": {"type": "string"},
}
_ACCEPTED = {
    "description": "Accepted for later; `Location` says where to ask how far it is.",
    "headers": {"Location": {"schema": {"type": "string"}, "required": True}},
    "content": {"application/json": {"schema": {"type": "object"}}},
}


def _model_parameters(versioned: bool) -> list[dict[str, Any]]:
    names = {"model": "Model name.", **({"version": "Model version."} if versioned else {})}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in names.items()
    ]


def _explain_schema(max_samples: int) -> dict[str, Any]:
    """Explain parameters, from the model that checks them, with this server's limit."""
    schema = ExplainParameters.model_json_schema()
    for kind in schema["properties"]["num_samples"]["anyOf"]:
        if kind["type"] == "integer":
            kind["maximum"] = max_samples
    return schema


def _query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters of a schema as query parameters."""
    properties = schema["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _operation(
    summary: str, tag: str, success: dict[str, Any], **parts: Any
) -> dict[str, dict[str, Any]]:
    done = {"description": "Done.", "content": success, "links": parts.pop("links", {})}
    responses = {"200": done, **ERROR_RESPONSES}
    return {"post": {"summary": summary, "tags": [tag], "responses": responses, **parts}}


def _links(expression: str, *operations: str) -> dict[str, Any]:
    """Where an id in an answer leads (OpenAPI 3.1, Link Object)."""
    return {
        f"{operation}_of_{expression.rpartition('/')[2]}": {
            "operationId": operation,
            "parameters": {"id": f"$response.body#{expression}"},
        }
        for operation in operations
    }


def _or_later(operation: dict[str, Any]) -> dict[str, Any]:
    """The operation, which `Prefer: respond-async` turns into a job (RFC 7240)."""
    post = operation["post"]
    post["parameters"] = [*post["parameters"], _PREFER]
    links = _links("/job_id", "job", "cancel_job")
    post["responses"] = {**post["responses"], "202": {**_ACCEPTED, "links": links}}
    return operation


def hot_paths(max_samples: int) -> dict[str, Any]:
    """OpenAPI path items of the routes in `data_plane.py`.

    Args:
        max_samples: largest `num_samples` that this server accepts.
    """
    schema = _explain_schema(max_samples)
    predicted = _links("/parameters/record_id", "record", "explain_record")
    explained = {
        **_links("/explanation_id", "explanation"),
        **_links("/record_id", "record", "explain_record"),
    }
    # A translation's attention, what was generated, or a detector's heat map.
    answers = {"application/json": {"schema": INFER_RESPONSE}, "image/png": PICTURE}
    explanations = {
        "application/json": {"schema": {"type": "object"}},
        "image/png": PICTURE,
        "text/html": {"schema": {"type": "string"}},
    }
    paths: dict[str, Any] = {}
    for middle, versioned in (("", False), ("/versions/{version}", True)):
        base = f"/v2/models/{{model}}{middle}"
        paths[f"{base}/infer"] = _operation(
            "Predict; the answer names its record",
            "open inference protocol",
            answers,
            operationId=f"infer{'_version' if versioned else ''}",
            links=predicted,
            parameters=_model_parameters(versioned)
            + [
                one
                for kind in (Translation, Generation)
                for one in _query(kind.model_json_schema())
            ],
            requestBody=BODY,
        )
        paths[f"{base}/similar"] = _operation(
            "The nearest of earlier inputs, by the model's own vector",
            "open inference protocol",
            {"application/json": {"schema": {"type": "object"}}},
            operationId=f"similar{'_version' if versioned else ''}",
            links=predicted,
            parameters=[*_model_parameters(versioned), _K],
            requestBody=BODY,
        )
        paths[f"{base}/explain"] = _or_later(
            _operation(
                "Predict, and explain the prediction",
                "explanations",
                explanations,
                operationId=f"explain{'_version' if versioned else ''}",
                links=explained,
                parameters=_model_parameters(versioned) + _query(schema),
                requestBody=BODY,
            )
        )
    for action in ("predict", "explain"):
        paths[f"/v1/models/{{model}}:{action}"] = _operation(
            f"{action.capitalize()} in KServe's V1 form",
            "kserve v1",
            {"application/json": {"schema": {"type": "object"}}},
            operationId=f"{action}_v1",
            parameters=_model_parameters(versioned=False),
            requestBody={"required": True, "content": {"application/json": {"schema": _V1}}},
        )
    paths["/v2/records/{id}/explain"] = _or_later(
        _operation(
            "Explain a prediction that was recorded earlier",
            "explanations",
            explanations,
            operationId="explain_record",
            links=explained,
            parameters=[_RECORD_ID, *_query(schema)],
            requestBody={
                "required": False,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"parameters": schema},
                        }
                    }
                },
            },
        )
    )
    return paths


def document(app: FastAPI) -> dict[str, Any]:
    """The whole OpenAPI document of the server."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        limit = app.state.serving.settings.explain_max_samples
        paths = schema["paths"]
        hot = hot_paths(limit) | act_paths(ERROR_RESPONSES) | stream_paths(ERROR_RESPONSES)
        for path, item in hot.items():
            paths[path] = {**paths.get(path, {}), **item}
        app.openapi_schema = schema
    return app.openapi_schema
