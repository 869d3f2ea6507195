"""What a record says of the model that answered and of what it ran on: made once, used often."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from service.audit.canonical import Part, canonical_part
from service.manifest import Manifest


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """What a record says of the model and of what it ran on."""

    manifest: Manifest
    #: the record's `model` field
    identity: Part
    #: the record's `environment` field
    environment: Part

    @classmethod
    def of(
        cls, manifest: Manifest, runtime_version: str, provider: str, threads: int
    ) -> RecordedModel:
        """The parts that are the same for every answer of a loaded model."""
        identity = {
            "name": manifest.name,
            "version": manifest.version,
            "manifest_sha256": manifest.digest,
            "card_sha256": hashlib.sha256(manifest.card.encode()).hexdigest(),
            "graphs": {role: graph.sha256 for role, graph in manifest.graphs.items()},
        }
        runtime = {
            "version": runtime_version,
            "provider": provider,
            "threads": threads,
            "graph_optimisation": "all",
        }
        environment = {**_environment(), "onnxruntime": runtime}
        return cls(manifest, canonical_part(identity), canonical_part(environment))


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    """What the bits of an answer may hang on besides the model: versions and processor."""
    installed = sorted(
        f"{d.metadata['Name'].lower()}=={d.version}" for d in importlib.metadata.distributions()
    )
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "packages_sha256": hashlib.sha256("\n".join(installed).encode()).hexdigest(),
    }


def _processor() -> dict[str, Any]:
    """Model name and instruction sets, where the operating system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {"name": platform.processor(), "instruction_sets": []}
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", "")).split()
    vector = [f for f in flags if f.startswith(("sse", "avx", "fma", "amx", "neon", "asimd"))]
    return {"name": facts.get("model name", ""), "instruction_sets": sorted(vector)}
