"""Beam search as it is served beside a plain loop over hypotheses, in one run.

The plain loop is what a textbook shows: for each hypothesis of the beam one call of the step with
a batch of one, its candidates sorted, the best of all kept. It is run on the same ONNX graphs,
and on the torch network as it was trained. All find the same translation. Every way runs on one
thread, and they take turns text by text, so that whatever else the machine does befalls them all;
the processor's time stands beside the clock's.

  GLASSLINE_HOME=.glassline python tests/bench/beam.py --model seq2seq-multi30k-en-de
  python tests/bench/beam.py            a network of that size with random weights
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.seq2seq import EncoderGraph, Seq2Seq, Seq2SeqConfig, StepGraph
from service.inference.translator import Translator
from service.settings import load
from service.store import ModelStore, StoredModel
from service.tasks.beam import penalty
from service.tasks.subwords import BEGIN, END, PAD
from service.tasks.translate import Asked

#: A sentence of fifteen words, as Multi30k has them.
SENTENCE = "A man in a blue shirt is standing on a ladder cleaning a large window"
WIDTH, ALPHA = 5, 0.6
Step = Callable[[int, Any], tuple[np.ndarray[Any, Any], Any]]


def plain(step: Step, state: Any, longest: int) -> list[int]:
    """A beam of hypotheses, each advanced by itself."""
    alive: list[tuple[float, list[int], Any]] = [(0.0, [BEGIN], state)]
    done: list[tuple[float, list[int]]] = []
    for _ in range(longest):
        candidates = []
        for total, tokens, state in alive:
            log_probabilities, after = step(tokens[-1], state)
            log_probabilities[[PAD, BEGIN]] = -np.inf
            for token in np.argsort(-log_probabilities, kind="stable")[:WIDTH]:
                value = total + float(log_probabilities[token])
                candidates.append((value, [*tokens, int(token)], after))
        candidates.sort(key=lambda one: -one[0])
        alive = []
        for total, tokens, after in candidates[: WIDTH - len(done)]:
            if tokens[-1] == END:
                done.append((total / penalty(len(tokens) - 1, ALPHA), tokens[1:]))
            else:
                alive.append((total, tokens, after))
        if not alive:
            break
    done += [(t / penalty(len(tokens) - 1, ALPHA), tokens[1:]) for t, tokens, _ in alive]
    return max(done)[1]


def by_graphs(translator: Translator, text: str) -> list[int]:
    """The plain loop on ONNX Runtime."""
    tokens = np.array([[*translator.subwords.encode(text), END]])
    length = np.array([tokens.shape[1]])
    read = translator._encoder.run({"tokens": tokens, "length": length})

    def step(token: int, state: Any) -> tuple[np.ndarray[Any, Any], Any]:
        made = translator._step.run(
            {"token": np.array([token]), "state": state, "memory": read["memory"],
             "keys": read["keys"], "length": length}
        )  # fmt: skip
        return made["log_probabilities"][0], made["next_state"]

    return plain(step, read["state"], translator.longest_answer)


def by_network(network: Seq2Seq, translator: Translator, text: str) -> list[int]:
    """The plain loop on torch."""
    with torch.inference_mode():
        tokens = torch.tensor([[*translator.subwords.encode(text), END]])
        length = torch.tensor([tokens.shape[1]])
        memory, keys, state = EncoderGraph(network)(tokens, length)
        module = StepGraph(network)

        def step(token: int, state: Any) -> tuple[np.ndarray[Any, Any], Any]:
            made = module(torch.tensor([token]), state, memory, keys, length)
            return made[0][0].numpy(), made[1]

        return plain(step, state, translator.longest_answer)


def served(translator: Translator, *texts: str) -> list[list[int]]:
    """As it is served."""
    column = {translator.input: np.array(texts, dtype=object)}
    asked = Asked(beam_width=WIDTH, length_penalty=ALPHA)
    numbers = translator.run({**column, **asked.columns(len(texts))})["token_numbers"]
    return [[token for token in row.tolist() if token != PAD] for row in numbers[:, 0]]


def random_model(home: Path) -> tuple[StoredModel, Seq2Seq]:
    """A network of the size of Multi30k's, whose translations go on for some twenty tokens."""
    from tests.small_translator import translator_manifest
    from training.data.numbered import vocabulary_of
    from training.translator_release import ENCODER, STEP, VOCABULARY, export_graphs

    torch.manual_seed(0)
    network = Seq2Seq(Seq2SeqConfig(5000, "gru", "luong", 256, 192)).eval()
    with torch.no_grad():
        network.bias[END] = -2.0
        network.bias[300:] = -30.0  # as many subwords as these lines have
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
    lines = tuple(" ".join(words[at : at + 9]) for at in range(len(words)))
    export_graphs(network, home)
    (home / VOCABULARY).write_bytes(vocabulary_of((lines, (SENTENCE,)), 300))
    manifest = translator_manifest()
    roles = {"encode": ENCODER, "step": STEP}
    graphs = {
        role: part.model_copy(update={"file": roles[role]})
        for role, part in manifest.graphs.items()
    }
    assets = {"vocabulary": manifest.assets["vocabulary"].model_copy(update={"file": VOCABULARY})}
    media = manifest.media.model_copy(update={"longest": 63, "longest_answer": 25})  # type: ignore[union-attr]
    told = {"graphs": graphs, "assets": assets, "media": media}
    return StoredModel(manifest.model_copy(update=told), home), network


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a released translator; else random weights")
    parser.add_argument("--rounds", type=int, default=60, help="translations of each way")
    parser.add_argument("--out", type=Path, help="JSON to write the figures into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        network: Seq2Seq | None = None
        if options.model:
            stored = ModelStore(load().root).get(options.model)
        else:
            stored, network = random_model(Path(scratch))
        translator = Translator(stored)
        if network is None:
            # The weights are in the graphs; for its time alone any of the same size will do.
            given = stored.manifest.provenance.config
            network = Seq2Seq(
                Seq2SeqConfig(
                    len(translator.subwords), given["cell"], given["attention"], given["units"],  # type: ignore[arg-type]
                    given["embedding"], given["layers"],
                )
            ).eval()  # fmt: skip
        figures = measured(translator, network, options.rounds, exact=not options.model)
    _print(figures)
    if options.out:
        kept = json.loads(options.out.read_text()) if options.out.exists() else {}
        kept["beam"] = {"model": options.model or "random weights", **figures}
        options.out.write_text(json.dumps(kept, indent=1) + "\n")


def measured(
    translator: Translator, network: Seq2Seq, rounds: int, exact: bool
) -> dict[str, dict[str, float]]:
    """Medians in milliseconds of each way, wall and processor.

    Args:
        exact: whether the torch network has the weights of the graphs.
    """
    found = served(translator, SENTENCE)[0]
    assert by_graphs(translator, SENTENCE) == found
    assert not exact or by_network(network, translator, SENTENCE) == found
    # A step of other weights takes as long; it may take another number of them.
    steps = len(found)
    ways: dict[str, Callable[[], Any]] = {
        "served": lambda: served(translator, SENTENCE),
        "served, 8 texts in one request": lambda: served(translator, *[SENTENCE] * 8),
        "plain loop, ONNX graphs": lambda: by_graphs(translator, SENTENCE),
    }
    if exact:
        ways["plain loop, torch"] = lambda: by_network(network, translator, SENTENCE)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in track(range(rounds), "translating", console=Console(stderr=True)):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            way()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    base = median(one for _, one in times["served"])
    said: dict[str, dict[str, float]] = {}
    for name, some in times.items():
        texts = 8 if "8 texts" in name else 1
        processor = median(one for _, one in some) / texts
        said[name] = {
            "wall_p50_ms": median(one for one, _ in some) / texts * 1e3,
            "processor_p50_ms": processor * 1e3,
            "times_served": processor / base,
        }
    said["text"] = {"words": len(SENTENCE.split()), "tokens_written": steps}
    return said


def _print(figures: dict[str, dict[str, float]]) -> None:
    table = Table("way", "wall p50, ms a text", "processor p50, ms a text", "times 'served'")
    for name, one in figures.items():
        if name != "text":
            table.add_row(
                name, f"{one['wall_p50_ms']:.1f}", f"{one['processor_p50_ms']:.1f}",
                f"{one['times_served']:.2f}",
            )  # fmt: skip
    Console().print(table)
    print(figures["text"])


if __name__ == "__main__":
    main()
