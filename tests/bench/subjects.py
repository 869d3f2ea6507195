"""The graphs that every server serves: LeNet-5 and ResNet-18, random weights of a fixed seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.manifest import (
    ExplainerDefaults,
    Graph,
    ImageMedia,
    Manifest,
    Parity,
    Provenance,
    Tensor,
)
from service.store import ModelStore
from tests.bench.venvs import FOLDER

#: What ours calls the model in its routes.
MODEL = "bench"
CORES = len(os.sched_getaffinity(0))


def _lenet5() -> object:
    from models.cnn import LeNet5, Probabilities

    return Probabilities(LeNet5())


def _resnet18() -> object:
    from torch import nn
    from torchvision.models import resnet18

    from models.cnn import Pixels, Probabilities

    return Probabilities(nn.Sequential(Pixels(gain=1 / 255, offset=0.0), resnet18(weights=None)))


@dataclass(frozen=True, slots=True)
class Subject:
    """A graph: UINT8 `image` (n, *shape) to FP32 `probabilities` (n, classes).

    `threads` is what every server but ours is given; ours chooses for itself.
    """

    name: str
    network: Callable[[], object]
    shape: tuple[int, int, int]
    classes: int
    threads: int

    def graph(self) -> Path:
        """The ONNX file; exported once and then kept."""
        path = FOLDER / "graphs" / f"{self.name}.onnx"
        if not path.exists():
            import torch

            from training.export import export

            torch.manual_seed(0)
            path.parent.mkdir(parents=True, exist_ok=True)
            network = self.network()
            assert isinstance(network, torch.nn.Module)
            fresh = path.with_suffix(".part")
            pictures = np.concatenate([self.image()] * 2)
            export(network, {"image": pictures}, ["probabilities"], fresh)
            fresh.rename(path)
        return path

    def image(self) -> NDArray[np.uint8]:
        """The one picture that every request carries: (1, *shape), random, fixed seed."""
        return np.random.default_rng(0).integers(0, 256, (1, *self.shape), np.uint8)

    def expected(self) -> NDArray[np.float32]:
        """What every server must answer for `image`: (classes,)."""
        session = ort.InferenceSession(str(self.graph()), providers=["CPUExecutionProvider"])
        answer: NDArray[np.float32] = session.run(["probabilities"], {"image": self.image()})[0]
        return answer[0]

    def release(self, home: Path) -> None:
        """Put the graph into a Glassline home, as `bench` version 1."""
        graph = self.graph()
        channels, height, width = self.shape
        modality = ExplainerDefaults(modality="image")
        manifest = Manifest(
            name=MODEL,
            version="1",
            family="cnn",
            task="classify",
            graphs={
                "predict": Graph(
                    file="predict.onnx", sha256=hashlib.sha256(graph.read_bytes()).hexdigest()
                )
            },
            inputs=(Tensor(name="image", datatype="UINT8", shape=(-1, *self.shape)),),
            outputs=(Tensor(name="probabilities", datatype="FP32", shape=(-1, self.classes)),),
            labels=tuple(f"class {i}" for i in range(self.classes)),
            media=ImageMedia(
                input="image", color="L" if channels == 1 else "RGB", width=width, height=height
            ),
            explainer=modality,
            parity=Parity(rows=1, max_abs_difference=0.0, label_flips=0, tolerance=1e-5),
            provenance=Provenance(
                script="tests/bench/subjects.py", config={}, seed=0, git_revision="unknown",
                trained_at="2026-01-01T00:00:00Z", seconds=0, data={}, libraries={},
                environment={},
            ),
        )  # fmt: skip
        ModelStore(home).put(manifest, {"predict.onnx": graph})


SUBJECTS = (
    Subject("lenet5", _lenet5, (1, 32, 32), 10, threads=1),
    Subject("resnet18", _resnet18, (3, 224, 224), 1000, threads=CORES),
)
