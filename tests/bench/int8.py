"""INT8 beside FP32 on this processor: rows a second, bytes, and accuracy where there is one.

LeNet-5 is trained on the digits, compressed as a release does it, and held to the release's
gate. ResNet-18 has the weights that it begins with: what it answers means nothing, and it takes
as long as with any others. Both graphs take turns on one thread; the best of many runs counts.

    python tests/bench/int8.py            # some two minutes
    python tests/bench/int8.py --epochs 2
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from service.errors import ReleaseRefused
from service.manifest import ImageMedia
from service.store import ModelStore, StoredModel
from training import compression, train_cnn
from training.candidate import Candidate, pixels, probabilities
from training.data import digits
from training.options import CNN
from training.provenance import describe
from training.release import release
from training.torchvision_import import torchvision

BATCHES = (1, 32)


class Scaled(torch.nn.Module):
    """ResNet-18 from pixels, UINT8, to probabilities."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = torchvision.models.resnet18(num_classes=6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(image.to(torch.float32) / 127.5 - 1), dim=1)


def resnet18(side: int) -> Candidate:
    """A candidate that nothing is known of: rows without a truth."""
    images = np.random.default_rng(0).integers(0, 256, (48, 3, side, side)).astype(np.uint8)
    media = ImageMedia(input="image", color="RGB", width=side, height=side)
    network = Scaled()
    return Candidate(
        name=f"resnet18-{side}", family="cnn", task="classify", summary="ResNet-18 as it begins.",
        network=network, inputs=(pixels(media),), outputs=(probabilities(6),),
        rows={"image": images}, truth=np.arange(48) % 6, labels=tuple("abcdef"), media=media,
        provenance=describe("tests/bench/int8.py", CNN, 0, 0, {}, network),
        calibration={"image": images}, sanity=(0, 0), mistakes=0,
    )  # fmt: skip


def lenet(epochs: int, home: Path) -> Candidate:
    """LeNet-5, trained on the digits."""
    data = digits.load()
    options = dataclasses.replace(CNN, epochs=epochs, device="cpu")
    config = train_cnn.Config(name="lenet-digits", options=options)
    console = Console(file=io.StringIO())
    stored = train_cnn.main(config, ModelStore(home), console)
    print(f"LeNet-5 in FP32: {100 * stored.manifest.metrics['accuracy']:.2f} %")
    network, fitted = train_cnn.train(config, data, console)
    asking = train_cnn.candidate_of(config, data, network, fitted)
    return dataclasses.replace(
        asking, calibration={"image": data.train.images}, sanity=(0, 0), mistakes=0
    )


def rows_of_speed(candidate: Candidate, home: Path) -> Iterator[str]:
    """Markdown rows: a batch size each."""
    store = ModelStore(home)
    full = release(dataclasses.replace(candidate, name="full"), store)
    gated = dataclasses.replace(candidate, name="small", precision="int8")
    try:
        small: StoredModel = release(gated, store)
        judged = f"{100 * small.manifest.metrics['accuracy']:.2f} %, released"
    except ReleaseRefused as refusal:
        yield f"| {candidate.name} | | | | refused: {refusal} |"
        return
    size = small.graph().stat().st_size / full.graph().stat().st_size
    for batch in BATCHES:
        feed: dict[str, NDArray[np.uint8]] = {
            name: array[:batch] for name, array in candidate.blocks[0].items()
        }
        slow, fast = compression.speeds(feed, full, small)
        yield (
            f"| {candidate.name}, batches of {batch} | {slow:.0f} | {fast:.0f} | "
            f"{fast / slow:.2f} | {judged}; {size:.2f} of the bytes |"
        )


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--epochs", type=int, default=20)
    chosen = asked.parse_args()
    print("| model | FP32, rows/s | INT8, rows/s | INT8 / FP32 | accuracy in INT8 |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as home:
        for candidate in (resnet18(64), resnet18(224), lenet(chosen.epochs, Path(home))):
            for line in rows_of_speed(candidate, Path(home)):
                print(line, flush=True)
    with_vnni = "vnni" in Path("/proc/cpuinfo").read_text()
    print(f"VNNI: {with_vnni}")
