"""Pictures explained by us and by upstream's lime, turn by turn, and the floor of inference.

  python tests/bench/explain_images.py                 3 turns of each, about 8 minutes
  python tests/bench/explain_images.py --only LeNet    a case by its name

`floor` is ONNX Runtime alone on as many pictures at its best batch. Upstream is given the same
ONNX Runtime session, segments and seed, and its own best batch; where it takes the picture at
all, both must answer with the same weights. Memory is the peak of what numpy and Python
allocate while an explanation is made, in a run of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage import data as photographs
from skimage.transform import resize
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.cnn import LeNet5, Probabilities
from service.explain.image import ImageConfig, explain_image
from service.explain.segment import segment
from tests.bench.explain_modalities import peak, seconds
from training.data import digits
from training.export import export

N = 1000
#: Pictures a call of the graph that are tried, and that upstream is tried with.
BATCHES = (4, 8, 16, 32, 64, 128)
RESULTS = Path(__file__).parent / "results" / "explain_images.json"


@dataclass
class Case:
    """Two ways to one explanation of one picture."""

    name: str
    goal: str
    image: NDArray[np.uint8]
    network: nn.Module
    segmentation: str


class Small(nn.Module):
    """Three convolutions with strides: cheap at any size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(32, 10),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(image.to(torch.float32) / 255)
        return logits


class ResNet18(nn.Module):
    """torchvision's, with the weights it is born with: time does not hang on them."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18

        self.network = resnet18(weights=None)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(image.to(torch.float32) / 255)
        return logits


def photograph(side: int) -> NDArray[np.uint8]:
    """The astronaut, (3, side, side)."""
    small = resize(photographs.astronaut(), (side, side), anti_aliasing=True)
    return np.ascontiguousarray((small * 255).astype(np.uint8).transpose(2, 0, 1))


def cases() -> list[Case]:
    """What the product is held to."""
    torch.manual_seed(0)
    digit = digits.load().test.images[0]
    return [
        Case("LeNet-5, 32x32", "<= 1.8x floor", digit, LeNet5(), "auto"),
        Case("small CNN, 512x512", ">= 8x lime", photograph(512), Small(), "slic"),
        Case("ResNet-18, 224x224", "<= 1.10x floor", photograph(224), ResNet18(), "slic"),
    ]


def session(network: nn.Module, image: NDArray[np.uint8]) -> Any:
    """The network as the service runs it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.onnx")
        export(Probabilities(network), {"x": np.stack([image] * 2)}, ["y"], path)
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )


def batched(model: Any, rows: NDArray[np.uint8], batch: int) -> None:
    """The graph alone."""
    for at in range(0, len(rows), batch):
        model.run(None, {"x": rows[at : at + batch]})


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Times and memory of one case."""
    model = session(case.network, case.image)
    # As many different pictures as memory is no matter: the graph does not remember them.
    rows = np.repeat(case.image[None], 128, axis=0)
    best = min(BATCHES, key=lambda batch: seconds(lambda: batched(model, rows, batch), 2))
    labels = segment(case.image, case.segmentation).labels
    config = ImageConfig(segmentation=case.segmentation, num_samples=N, batch_size=best)
    channels = case.image.shape[0]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = model.run(None, {"x": images})[0]
        return scores

    def upstream_predict(images: NDArray[Any]) -> NDArray[np.float32]:
        planes = np.asarray(images).transpose(0, 3, 1, 2)[:, :channels]
        return predict(np.ascontiguousarray(planes, np.uint8))

    def ours() -> Any:
        return explain_image(case.image, predict, config)

    # Upstream takes colour pictures alone: a grey one is sent three times over.
    colour = np.repeat(case.image, 3, axis=0) if channels == 1 else case.image
    picture = np.ascontiguousarray(colour.transpose(1, 2, 0))

    def theirs(batch: int = best) -> Any:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # its bar
            return LimeImageExplainer(random_state=0).explain_instance(
                picture, upstream_predict, top_labels=1, hide_color=None, num_samples=N,
                num_features=10, segmentation_fn=lambda _: labels, batch_size=batch,
            )  # fmt: skip

    def floor() -> None:
        for start in range(0, N, len(rows)):
            batched(model, rows[: min(len(rows), N - start)], best)

    same(ours(), theirs())
    turns = []
    for _ in range(rounds):
        turns.append((seconds(ours), seconds(theirs), seconds(floor)))
    medians = [median(column) for column in zip(*turns, strict=True)]
    return {
        "case": case.name, "goal": case.goal, "batch": best, "ours_s": medians[0],
        "lime_s": medians[1], "floor_s": medians[2], "memory_ratio": peak(ours) / peak(theirs),
    }  # fmt: skip


def same(ours: Any, theirs: Any) -> None:
    """Refuse to time two different answers."""
    one = ours.of()
    found = {int(at): float(weight) for at, weight in theirs.local_exp[one.label]}
    if dict(one.weights) != found:
        raise SystemExit(f"the weights differ: {one.weights[:2]} and {list(found.items())[:2]}")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; default 3")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    report = Table("explanation", "ours s", "lime s", "faster", "floor s", "ours/floor",
                   "lime/floor", "memory", "goal")  # fmt: skip
    found = []
    for case in cases():
        if options.only in case.name:
            one = measure(case, options.rounds)
            found.append(one)
            ours, theirs, floor = one["ours_s"], one["lime_s"], one["floor_s"]
            report.add_row(
                one["case"], f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f}x",
                f"{floor:.2f}", f"{ours / floor:.2f}x", f"{theirs / floor:.2f}x",
                f"{one['memory_ratio']:.2f}x", one["goal"],
            )  # fmt: skip
    report.title = f"N = {N}, medians of {options.rounds} turns, the same weights"
    Console(width=130 if not sys.stdout.isatty() else None).print(report)
    if not options.only:
        RESULTS.write_text(json.dumps({"num_samples": N, "cases": found}, indent=1) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main()
