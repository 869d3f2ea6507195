"""What ImageNet's weights are worth on DeepPCB's crops, by pictures at hand and by what is tuned.

EfficientNet-Lite0 on 64 x 64 crops of six defects, from 10, 50 and 500 training pictures of each
class: from scratch, and with its weights from ImageNet: the last layer, the last layer and three
blocks, all. The same pictures, epochs and variation for each; no validation picture decides about
anything: the last epoch is scored, through ONNX Runtime, on all test crops, which are of other
boards. From scratch batch norms take the statistics of these pictures, else ImageNet's.

    python tests/bench/transfer.py ../shared/data/deeppcb

Writes each result to tests/bench/results/transfer.json, and goes on there when it is run again.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from rich.console import Console
from torch import nn

from models.blocks import Probabilities
from models.transfer import Transferred
from training import imagenet, pretrained, train_cnn, transfer
from training.augment import variation_of
from training.data import deeppcb
from training.data.pictures import Part, Pictures, square
from training.export import export
from training.options import CNN

SIZE = 64
#: Training pictures of each class to epochs: the more pictures, the fewer passes are affordable.
EPOCHS = {50: 15, 10: 30, 500: 5}
METHODS = ("last", "scratch", "last-3", "all")
RESULTS = Path(__file__).with_name("results") / "transfer.json"
#: The package's batch norms forget within 100 updates, more than there are of so few pictures.
MOMENTUM = 0.1


def some(part: Part, count: int, seed: int) -> Part:
    """The first `count` pictures of each class in an order of this seed: fewer are among more."""
    order = np.random.default_rng(seed).permutation(len(part))
    rows = [order[part.labels[order] == label][:count] for label in np.unique(part.labels)]
    return part.some(np.concatenate(rows))


def network_of(method: str, classes: int, seed: int) -> Transferred:
    """EfficientNet-Lite0, with or without weights."""
    torch.manual_seed(seed)
    if method != "scratch":
        body = pretrained.load("efficientnet_lite0").body
        return Transferred(body, classes, transfer.tuned_blocks(method, body))
    body = pretrained.efficientnet_lite0(imagenet.EfficientNetLite0().network)
    network = Transferred(body, classes, len(body.blocks), norms=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = MOMENTUM
    return network


def accuracy(network: nn.Module, test: Part) -> float:
    """Of the exported graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predict.onnx"
        export(Probabilities(network), {"image": test.images[:2]}, ["probabilities"], path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(path), options)
        batches = np.array_split(test.images, len(test) // 32)
        answers = [session.run(None, {"image": batch})[0].argmax(axis=1) for batch in batches]
    return float((np.concatenate(answers) == test.labels).mean())


def measured(data: Pictures, count: int, method: str, seed: int) -> dict[str, Any]:
    """Train and score one of them."""
    started = time.process_time()
    network = network_of(method, len(data.labels), seed)
    loss = train_cnn.smoothed(np.ones(len(data.labels), np.float32))
    lessons = transfer.Lessons(
        nn.functional.cross_entropy,
        loss,
        ("accuracy", train_cnn.accuracy),
        variation_of(data.variation, SIZE),
        keep="last",
    )
    options = dataclasses.replace(CNN, epochs=EPOCHS[count], batch_size=32, seed=seed, device="cpu")
    train, watched = some(data.train, count, seed), some(data.validation, 5, seed)
    decay = 1.0 if method == "scratch" else 0.7
    console = Console(file=io.StringIO())
    transfer.tune(network, train, watched, lessons, decay, options, "transfer", console)
    found = accuracy(network, data.test)
    seconds = round(time.process_time() - started)
    return {"images": count, "method": method, "seed": seed, "epochs": EPOCHS[count],
            "accuracy": found, "cpu_seconds": seconds}  # fmt: skip


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Test accuracy in percent, a row for each number of pictures; the mean over seeds."""
    yield f"| training images a class | {' | '.join(METHODS)} |"
    yield "|---" * (1 + len(METHODS)) + "|"
    for count in sorted(EPOCHS):
        cells = []
        for method in METHODS:
            found = [
                r["accuracy"] for r in results if (r["images"], r["method"]) == (count, method)
            ]
            cells.append(f"{100 * np.mean(found):.1f}" if found else "")
        yield f"| {count} | {' | '.join(cells)} |"


def main(folder: Path, images: list[int], methods: list[str], seeds: list[int]) -> None:
    """Measure what is not measured yet, then print the table."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(r["images"], r["method"], r["seed"]) for r in results}
    wanted = [(n, m, s) for s in seeds for n in images for m in methods]
    todo = [one for one in wanted if one not in done]
    data = deeppcb.load(folder, square(SIZE, "RGB"), False, Console()) if todo else None
    for count, method, seed in todo:
        assert data is not None
        results.append(measured(data, count, method, seed))
        print(results[-1], flush=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=list(EPOCHS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = parser.parse_args()
    main(asked.folder, asked.images, asked.methods, asked.seeds)
