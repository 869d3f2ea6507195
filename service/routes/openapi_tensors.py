"""The OpenAPI schemas of tensors, and of the bodies that are understood by a manifest."""

from __future__ import annotations

from typing import Any, Final

_DATATYPES = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP32", "FP64", "BYTES",
]  # fmt: skip
TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": _DATATYPES},
        "data": {"type": "array", "items": {}, "description": "Flat or nested, row-major."},
        "parameters": {"type": "object"},
    },
}
INFER_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "Echoed in the answer."},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "items": TENSOR, "minItems": 1},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}},
            },
            "description": "Outputs wanted; all of them if absent.",
        },
    },
}
#: What every answer says besides what was asked for.
ANSWERED: Final[dict[str, Any]] = {
    "model_name": {"type": "string"},
    "model_version": {"type": "string"},
    "id": {"type": "string"},
    "parameters": {
        "type": "object",
        "properties": {
            "record_id": {"type": "string", "description": "Id of the record."},
            "deadline_missed": {
                "type": "boolean",
                "description": "The answer was later than the model's latency budget; else absent.",
            },
            "deadline_ms": {"type": "number", "description": "That budget, in milliseconds."},
            "fail_safe": {
                "type": ["string", "number", "array"],
                "items": {"type": "number"},
                "description": "What was answered in the model's place; absent if it answered "
                "itself.",
            },
        },
    },
}
INFER_RESPONSE = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        **ANSWERED,
        "outputs": {"type": "array", "items": TENSOR},
    },
}
PICTURE = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": INFER_REQUEST},
        "image/png": PICTURE,
        "image/jpeg": PICTURE,
        "text/csv": {"schema": {"type": "string"}},
        "text/plain": {"schema": {"type": "string"}},
        "application/octet-stream": PICTURE,
    },
}
