"""What a run of explanations is asked: all that its answers hang on, so that it can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnxruntime

from service.explain.conclude import LIBRARIES
from service.explain.parameters import ExplainParameters
from service.manifest import Manifest

SCHEMA = "glassline.bulk/1"


@dataclass(frozen=True, slots=True)
class Question:
    """Two runs with equal questions give equal rows.

    Args:
        inputs_sha256: see `Inputs.sha256`.
        rows: how many.
        manifest: of the model.
        parameters: of every row's explanation.
        provider: ONNX Runtime's, on which the graph runs.
        threads: as the setting says.
    """

    inputs_sha256: str
    rows: int
    manifest: Manifest
    parameters: ExplainParameters
    provider: str
    threads: int

    def to_json(self) -> dict[str, Any]:
        """As it stands beside the parts and in the finished file."""
        return {
            "schema": SCHEMA,
            "inputs": {"sha256": self.inputs_sha256, "rows": self.rows},
            "model": {"name": self.manifest.reference, "manifest_sha256": self.manifest.digest},
            "parameters": self.parameters.model_dump(mode="json"),
            "runtime": {
                "provider": self.provider,
                "threads": self.threads,
                "onnxruntime": onnxruntime.__version__,
                **LIBRARIES,
            },
        }


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two questions, in words; empty where nothing does.

    Args:
        there: the one that was begun with.
        now: the one that is asked now.
    """
    old, new = dict(_leaves(there)), dict(_leaves(now))
    return "; ".join(
        f"{name} was {_shown(old.get(name))} and is {_shown(new.get(name))} now"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    )


def _leaves(value: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, one in value.items():
        inner = isinstance(one, Mapping)
        found += _leaves(one, f"{before}{name}.") if inner else [(f"{before}{name}", one)]
    return found


def _shown(value: Any) -> str:
    """Digests by their first figures: whoever reads it only sees that they differ."""
    text = "the default" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}..."
