"""The OpenAPI path items of the hot route of streams: rows."""

from __future__ import annotations

from typing import Any

from service.protocol.stream_rows import CSV, JSON, NDJSON

_ROW = {
    "type": "object",
    "required": ["time"],
    "properties": {"time": {"type": "string", "format": "date-time"}},
    "additionalProperties": {"type": ["number", "null"], "description": "A sensor, by its name."},
}
_ROWS = {
    "oneOf": [
        {
            "type": "object",
            "required": ["rows"],
            "properties": {
                "rows": {"type": "array", "items": _ROW, "minItems": 1},
                "is_historical": {"type": "boolean", "default": False},
            },
            "additionalProperties": False,
        },
        {"type": "array", "items": {"type": "object"}, "minItems": 1},
        _ROW,
    ]
}
_SAID = {
    "type": "object",
    "required": ["model_name", "model_version", "rows", "alarms", "accepted", "duplicates", "late"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": ["string", "null"]},
        "stream": {"type": ["string", "null"]},
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "time": {"type": "string"},
                    "score": {"type": ["number", "null"]},
                    "p_value": {"type": ["number", "null"]},
                    "alpha": {"type": ["number", "null"]},
                    "verdict": {"type": ["string", "null"]},
                    "state": {"type": "string"},
                },
            },
        },
        "alarms": {"type": "array", "items": {"type": "object"}},
        "accepted": {"type": "integer"},
        "duplicates": {"type": "integer"},
        "late": {"type": "integer"},
        "notes": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Why rows were dropped, and what to do; absent where none was.",
        },
        "deadline_missed": {"type": "boolean", "description": "The verdict is the fail-safe."},
        "deadline_ms": {"type": "number", "description": "The latency budget that is over."},
        "verdict": {"type": "string", "description": "The fail-safe, where it was answered."},
    },
}
_HISTORY = {
    "name": "is_historical",
    "in": "query",
    "required": False,
    "description": "The rows are history and alarm nobody; for NDJSON and CSV.",
    "schema": {"type": "boolean"},
}


def stream_paths(responses: dict[int | str, Any]) -> dict[str, dict[str, Any]]:
    """Path items of the route that takes rows.

    Args:
        responses: what any route may answer besides its success.
    """
    paths = {}
    for version in (False, True):
        for stream in (False, True):
            path = "/v2/models/{model}" + ("/versions/{version}" if version else "") + "/streams"
            names = ["model", *(["version"] if version else []), *(["stream"] if stream else [])]
            operation = "rows" + ("_of_stream" if stream else "") + ("_version" if version else "")
            paths[path + ("/{stream}" if stream else "")] = {
                "post": {
                    "summary": "Rows of a stream; answered once they are durable"
                    if stream
                    else "Rows of many streams, each naming its own",
                    "tags": ["streams"],
                    "operationId": operation,
                    "parameters": [*map(_named, names), _HISTORY],
                    "requestBody": {
                        "required": True,
                        "content": {
                            JSON: {"schema": _ROWS},
                            NDJSON: {"schema": {"type": "string"}},
                            CSV: {"schema": {"type": "string"}},
                        },
                    },
                    "responses": {
                        "200": {"description": "Done.", "content": {JSON: {"schema": _SAID}}},
                        **responses,
                    },
                }
            }
    return paths


def _named(name: str) -> dict[str, Any]:
    text = {"model": "Model name.", "version": "Model version.", "stream": "Stream, LINE.GROUP."}
    return {
        "name": name, "in": "path", "required": True, "description": text[name],
        "schema": {"type": "string"},
    }  # fmt: skip
