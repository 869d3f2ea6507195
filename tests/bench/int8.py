"""INT8 beside FP32 on this processor: rows a second, bytes, and accuracy where there is one.

LeNet-5 is trained on the digits, compressed as a release does it, and held to the release's
gate. ResNet-18 has the weights that it begins with: what it answers means nothing, and it takes
as long as with any others once its batch norms have seen some pictures. Seconds are those of
the processor, on one thread; the best of many runs counts.

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

from models.cnn import Probabilities
from models.pictures import PictureConfig
from models.resnet import ResNet
from service.errors import ReleaseRefused
from service.manifest import ImageMedia
from service.store import ModelStore, StoredModel
from training import compression, train_cnn
from training.candidate import Candidate, pixels, probabilities
from training.options import CNN
from training.provenance import describe
from training.release import release

BATCHES = (1, 32)


def resnet18(side: int) -> Candidate:
    """A candidate that nothing is known of: random pictures without a meaning."""
    images = np.random.default_rng(0).integers(0, 256, (48, 3, side, side)).astype(np.uint8)
    media = ImageMedia(input="image", color="RGB", width=side, height=side)
    torch.manual_seed(0)
    network = Probabilities(ResNet(PictureConfig(classes=6, size=side)))
    with torch.no_grad():  # without statistics its values would grow or vanish with the depth
        for _ in range(20):
            network.train()(torch.from_numpy(images[:16]))
    return Candidate(
        name=f"resnet18-{side}", family="cnn", task="classify", summary="ResNet-18 as it begins.",
        network=network, inputs=(pixels(media),), outputs=(probabilities(6),),
        rows={"image": images}, truth=np.arange(48) % 6, labels=tuple("abcdef"), media=media,
        provenance=describe("tests/bench/int8.py", CNN, 0, 0, {}, network),
        calibration={"image": images}, sanity=(0, 0), mistakes=0,
    )  # fmt: skip


def lenet(epochs: int) -> Candidate:
    """LeNet-5, trained on the digits."""
    options = dataclasses.replace(CNN, epochs=epochs, device="cpu")
    config, console = train_cnn.Config(options=options), Console(file=io.StringIO())
    data = train_cnn.load(config, console)
    asking = train_cnn.candidate_of(config, data, *train_cnn.train(config, data, console))
    return dataclasses.replace(asking, sanity=(0, 0), mistakes=0)


def rows_of_speed(candidate: Candidate, home: Path) -> Iterator[str]:
    """Markdown rows: a batch size each."""
    store = ModelStore(home)
    full = release(dataclasses.replace(candidate, name="full"), store)
    gated = dataclasses.replace(candidate, name="small", precision="int8")
    try:
        small: StoredModel = release(gated, store)
        both = [one.manifest.metrics["accuracy"] for one in (full, small)]
        judged = " / ".join(f"{100 * accuracy:.2f} %" for accuracy in both)
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
    print("| model | FP32, rows/s | INT8, rows/s | INT8 / FP32 | accuracy of FP32 / INT8 |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as home:
        for candidate in (lenet(chosen.epochs), resnet18(64), resnet18(224)):
            for line in rows_of_speed(candidate, Path(home)):
                print(line, flush=True)
    with_vnni = "vnni" in Path("/proc/cpuinfo").read_text()
    print(f"VNNI: {with_vnni}")
