"""A recurrent network on sequences that asks to be released: its test windows, outputs, assets."""

from __future__ import annotations

import csv
import io

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import nn

from service.manifest import ExplainerDefaults, Interval, SequenceMedia
from service.manifest import Tensor as Declared
from training import provenance, recurrent_losses
from training.candidate import Candidate, Held, Rows, probabilities, values
from training.data.sequences import Parts, Sequences
from training.data.windows import Windows, windows_of
from training.fitting import Fitted
from training.learning_curve import learning_curve
from training.lessons import one_thread
from training.recurrent_config import Config
from training.truth_plot import truth_plot

#: Groups of test windows, by length, that the parity gate sees; and rows of one cut in half.
GROUPS, HALVES = 6, 8
#: Steps that the example holds at most.
EXAMPLE_STEPS = 512


def predicted(network: nn.Module, windows: Windows) -> list[NDArray[np.float64]]:
    """The outputs of a network for windows, in their order: (n, k) each."""
    parts: list[list[NDArray[np.float64]]] = []
    with torch.inference_mode(), one_thread():
        network.eval()
        for start in range(0, len(windows.lengths), 256):
            rows = slice(start, start + 256)
            answer = network(
                torch.from_numpy(windows.values[rows]), torch.from_numpy(windows.lengths[rows])
            )
            outputs = answer if isinstance(answer, tuple) else (answer,)
            parts.append([one.numpy().astype(np.float64) for one in outputs])
    return [np.concatenate(of_output) for of_output in zip(*parts, strict=True)]


def blocks_of(windows: Windows) -> tuple[list[Rows], NDArray[np.intp], int]:
    """Test windows for the parity gate: by length, padded within each group; some cut in half.

    Returns:
        The blocks; the windows' order in them; and how many rows at the end are halves, of which
        nobody knows the truth.
    """
    order = np.argsort(-windows.lengths, kind="stable")
    blocks: list[Rows] = []
    for group in np.array_split(order, min(GROUPS, len(order))):
        steps = int(windows.lengths[group].max())
        blocks.append({"window": windows.values[group, :steps], "length": windows.lengths[group]})
    some = order[:HALVES]
    steps = max(1, int(windows.lengths[some].max()) // 2)
    lengths = np.minimum(windows.lengths[some], steps)
    blocks.append({"window": windows.values[some, :steps], "length": lengths})
    return blocks, order, len(some)


def candidate_of(
    config: Config,
    sequences: Sequences,
    parts: Parts,
    network: nn.Module,
    interval: Interval | None,
    fitted: Fitted,
) -> Candidate:
    """What is released: the network with its last step, tested on sequences it has never seen."""
    test = windows_of(sequences, parts.test, config.asked, at_ends=sequences.ends)
    blocks, order, halves = blocks_of(test)
    longest = config.asked.longest or max(len(one) for one in sequences.series)
    last = test.last
    unknown = np.full((halves, *last.shape[1:]), np.nan if last.dtype.kind == "f" else -1)
    outputs = [probabilities(len(sequences.labels))]
    if not sequences.labels:
        first = values(sequences.targets, sequences.unit)
        ends = [first.model_copy(update={"name": end}) for end in ("lower", "upper")]
        outputs = [first, *(ends if interval else ())]
    source: dict[str, JsonValue] = {
        "name": sequences.name, "sha256": sequences.sha256, "licence": sequences.licence,
        "split": "by sequence, never by window", "split_seed": config.split_seed,
        "train_sequences": len(parts.train), "held_out_sequences": len(parts.held_out),
        "test_sequences": len(parts.test),
    }  # fmt: skip
    return Candidate(
        name=config.name,
        family="recurrent",
        task=sequences.task,
        summary=_summary(config, sequences, longest, interval),
        network=network,
        inputs=(
            Declared(name="window", datatype="FP32", features=sequences.channels,
                     shape=(-1, -1, len(sequences.channels))),
            Declared(name="length", datatype="INT64", shape=(-1,), unit="steps"),
        ),
        outputs=tuple(outputs),
        rows=blocks,
        truth=np.concatenate([last[order], unknown.astype(last.dtype)]),
        labels=sequences.labels,
        media=SequenceMedia(input="window", shortest=config.shortest, longest=longest,
                            gaps=config.gaps),
        explainer=ExplainerDefaults(modality="sequence"),
        assets=_assets(config, sequences, test, network, interval, fitted),
        free={"window": {1: "steps"}},
        exporter="torchscript",
        interval=interval,
        validation=_held(config, sequences, parts),
        shown=[sequences.ids[at] for at in test.owners[order]] + ["a half"] * halves,
        figures=recurrent_losses.figures(sequences, interval),
        provenance=provenance.describe(
            "training/train_recurrent.py", config, config.options.seed, fitted.seconds, source,
            network,
        ),
    )  # fmt: skip


def _held(config: Config, sequences: Sequences, parts: Parts) -> Held | None:
    """Windows that the network was not fitted to; None where it was fitted to all of them."""
    if config.options.refit or not sequences.labels:
        return None
    windows = windows_of(sequences, parts.held_out, config.asked)
    return Held({"window": windows.values, "length": windows.lengths}, windows.last)


def _assets(
    config: Config,
    sequences: Sequences,
    test: Windows,
    network: nn.Module,
    interval: Interval | None,
    fitted: Fitted,
) -> dict[str, tuple[str, bytes]]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(sequences.channels)
    window = test.values[0, : test.lengths[0]]
    writer.writerows([[str(value) for value in step] for step in window[-EXAMPLE_STEPS:]])
    assets = {
        "example": ("example.csv", text.getvalue().encode()),
        "learning_curve": ("learning-curve.png", learning_curve(fitted, config.name)),
    }
    if not sequences.labels:
        unit = f", {sequences.unit}" if sequences.unit else ""
        value, *ends = (one[:, 0] for one in predicted(network, test))
        picture = truth_plot(
            value, test.last[:, 0].astype(np.float64), (ends[0], ends[1]) if interval else None,
            sequences.targets[0] + unit, config.name, "engine" if sequences.ends else "window",
        )  # fmt: skip
        assets["predicted_against_true"] = ("predicted-against-true.png", picture)
    return assets


def _summary(config: Config, sequences: Sequences, longest: int, interval: Interval | None) -> str:
    ways = "bidirectional " if config.bidirectional else ""
    what = f"one of {len(sequences.labels)} classes" if sequences.labels else (
        ", ".join(f"'{one}'" for one in sequences.targets[:3])
        + (f" and {len(sequences.targets) - 3} more" if len(sequences.targets) > 3 else "")
    )  # fmt: skip
    gaps = {"refuse": "Gaps are refused.", "interpolate": "Gaps are interpolated, and counted."}
    words = (
        f"A {ways}{config.cell.upper()} ({config.layers} x {config.units} units) that reads "
        f"{config.shortest} to {longest} steps of {len(sequences.channels)} channels of "
        f"{sequences.name} and predicts {what}. {gaps[config.gaps]} "
    )
    if interval:
        words += (
            f"`lower` and `upper` hold the truth in {interval.level:.0%} of cases, calibrated on "
            f"{interval.units} sequences that training never saw. "
        )
    return words + "Of sequences that came about otherwise nothing is known."
