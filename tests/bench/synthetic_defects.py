"""Do generated defects help a classifier that has few real ones? DeepPCB, 32 x 32 crops.

LeNet-5 on six defects from a few real crops of each class, and from these and generated ones: by a
conditional DCGAN that has learnt from the very same crops, and, as a bound that nobody with so few
crops can reach, by one that has learnt from all training crops with their labels (one for all
seeds). Every classifier gets as many updates of as many rows, the same variation (turns) and the
epoch with the lowest loss on the same few validation crops; scored through ONNX Runtime on all test
crops, which are of other boards. A generator's epoch is chosen by the Fréchet distance to the
validation crops that it may know, in the feature space of the classifier that has the real ones
alone.

    python tests/bench/synthetic_defects.py ../shared/data/deeppcb

Writes each result to tests/bench/results/synthetic_defects.json, and goes on there when it is run
again; some 4 minutes of processor time. `--sheet FILE` draws real crops above generated ones.
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
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from models.cnn import Probabilities
from service.explain.sheet import contact_sheet
from service.tasks.generate import drawn_noise, grey_levels
from training import train_cnn, train_gan
from training.augment import centred
from training.data import deeppcb
from training.data.pictures import Part, Parts, Pictures, square
from training.export import export
from training.feature_space import FeatureSpace
from training.options import CNN, GAN

SIZE = 32
#: Real crops of each class, and generated ones for each real one.
IMAGES, TIMES = 50, 4
#: Updates of each classifier, and of the generator that has few crops and the one that has all.
UPDATES, FEW, ALL = 1000, 2000, 3000
#: What a classifier is trained on.
ARMS = ("real", "with generated", "with generated from all crops")
RESULTS = Path(__file__).with_name("results") / "synthetic_defects.json"


def some(part: Part, count: int, seed: int) -> Part:
    """`count` pictures of each class, in an order of this seed."""
    order = np.random.default_rng(seed).permutation(len(part))
    rows = [order[part.labels[order] == label][:count] for label in np.unique(part.labels)]
    return part.some(np.concatenate(rows))


def few(data: Pictures, seed: int) -> Pictures:
    """The data of somebody with few defects; half as many for validation."""
    train = some(data.train, IMAGES, seed)
    validation = some(data.validation, IMAGES // 2, seed)
    return dataclasses.replace(data, parts=Parts(train, validation, data.test))


def classifier(data: Pictures, seed: int) -> nn.Module:
    """LeNet-5 after UPDATES updates."""
    epochs = max(1, round(UPDATES * CNN.batch_size / len(data.train)))
    options = dataclasses.replace(CNN, epochs=epochs, seed=seed, device="cpu")
    config = train_cnn.Config(data="", name="few", size=SIZE, color="L", options=options)
    network, _ = train_cnn.train(config, data, Console(file=io.StringIO()))
    return network


def accuracy(graph: Path, test: Part) -> float:
    """Of the exported graph."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(graph), options)
    batches = np.array_split(test.images, len(test) // 64)
    said = np.concatenate([session.run(None, {"image": one})[0] for one in batches])
    return float((said.argmax(axis=1) == test.labels).mean())


def generator(data: Pictures, updates: int, seed: int, space: FeatureSpace) -> nn.Module:
    """A conditional one, after so many updates."""
    epochs = max(1, round(updates * GAN.batch_size / len(data.train)))
    options = dataclasses.replace(GAN, epochs=epochs, seed=seed, device="cpu")
    config = train_gan.Config(name="few", size=SIZE, conditional=True, move=2, options=options)
    network, _ = train_gan.train(config, data, space, Console(file=io.StringIO()))
    return network.eval()


def generated(network: nn.Module, classes: int, count: int, seed: int) -> Part:
    """`count` pictures of each class, with the margin that real crops have."""
    labels = np.repeat(np.arange(classes), count)
    noise = torch.from_numpy(drawn_noise(seed, len(labels), 64))
    with torch.inference_mode():
        made = grey_levels(network(noise, torch.from_numpy(labels)).numpy())
    margin = deeppcb.margin_of(square(SIZE, "L"))
    wide = np.pad(made, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="edge")
    return Part(wide, labels)


def joined(data: Pictures, more: Part) -> Pictures:
    """With more training pictures."""
    images = np.concatenate([data.train.images, more.images])
    labels = np.concatenate([data.train.labels, more.labels])
    return dataclasses.replace(
        data, parts=Parts(Part(images, labels), data.validation, data.test)
    )  # fmt: skip


class Bench:
    """Measures all arms of a seed."""

    def __init__(self, data: Pictures) -> None:
        self.data = data
        self.made: list[NDArray[np.uint8]] = []
        self.judge: nn.Module | None = None
        self.of_all: nn.Module | None = None

    def seed(self, seed: int, done: set[tuple[int, str]]) -> Iterator[dict[str, Any]]:
        """Results of the arms that are not measured yet."""
        data = few(self.data, seed)
        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "real.onnx"
            started = time.process_time()
            score = self._scored(data, seed, graph)
            if (seed, ARMS[0]) not in done:
                yield result(seed, ARMS[0], score, started)
            space = FeatureSpace(graph, self.data.media, "few")
            for arm in ARMS[1:]:
                if (seed, arm) in done:
                    continue
                started = time.process_time()
                if arm == ARMS[1]:
                    network = generator(data, FEW, seed, space)
                else:
                    network = self._of_all(space)
                more = generated(network, len(data.labels), TIMES * IMAGES, seed)
                self.made.append(more.images)
                score = self._scored(joined(data, more), seed, Path(folder) / "more.onnx")
                told = self._told(more, Path(folder))
                yield {**result(seed, arm, score, started), **told}

    def _scored(self, data: Pictures, seed: int, graph: Path) -> float:
        network = Probabilities(classifier(data, seed))
        export(network, {"image": data.test.images[:2]}, ["probabilities"], graph)
        return accuracy(graph, data.test)

    def _of_all(self, space: FeatureSpace) -> nn.Module:
        """The generator that has learnt from all training crops, one for all seeds."""
        if self.of_all is None:
            self.of_all = generator(self.data, ALL, 0, space)
        return self.of_all

    def _told(self, more: Part, folder: Path) -> dict[str, float]:
        """The share of generated crops that a classifier with all real ones calls what they were
        to be; it sees none of them in training.
        """
        if self.judge is None:
            self.judge = Probabilities(classifier(self.data, 0))
        graph = folder / "judge.onnx"
        export(self.judge, {"image": self.data.test.images[:2]}, ["probabilities"], graph)
        made = Part(centred(more.images, SIZE), more.labels)
        return {"called_as_told": accuracy(graph, made)}


def result(seed: int, arm: str, score: float, started: float) -> dict[str, Any]:
    seconds = round(time.process_time() - started)
    return {"images": IMAGES, "seed": seed, "arm": arm, "accuracy": score, "cpu_seconds": seconds}


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Test accuracy in percent by seed, and the mean difference to real crops alone."""
    seeds = sorted({one["seed"] for one in results})
    heads = " | ".join(f"seed {seed}" for seed in seeds)
    yield f"| trained on {IMAGES} real crops a class | {heads} | mean |"
    yield "|---" * (2 + len(seeds)) + "|"
    for arm in ARMS:
        found = {one["seed"]: one["accuracy"] for one in results if one["arm"] == arm}
        cells = [f"{100 * found[seed]:.1f}" if seed in found else "" for seed in seeds]
        mean = f"{100 * np.mean(list(found.values())):.1f}" if found else ""
        yield f"| {arm} | {' | '.join(cells)} | {mean} |"


def sheet(data: Pictures, made: list[NDArray[np.uint8]], path: Path) -> None:
    """Twelve real crops of each class in a row, and below them as many of each generator."""
    classes = range(len(data.labels))
    real = [data.train.images[data.train.labels == one][:12] for one in classes]
    each = TIMES * IMAGES
    rows = real + [part[each * one : each * one + 12] for part in made for one in classes]
    pictures = centred(np.concatenate(rows), SIZE)
    contact_sheet(pictures, columns=12, scale=2).save(path)


def main(folder: Path, seeds: list[int], drawn: Path | None) -> None:
    """Measure what is not measured yet, then print the table."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(one["seed"], one["arm"]) for one in results}
    if any((seed, arm) not in done for seed in seeds for arm in ARMS):
        bench = Bench(deeppcb.load(folder, square(SIZE, "L"), False, Console()))
        for seed in seeds:
            for one in bench.seed(seed, done):
                results.append(one)
                print(one, flush=True)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                if drawn is not None:
                    sheet(bench.data, bench.made, drawn)
    print("\n".join(table(results)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    main(asked.folder, asked.seeds, asked.sheet)
