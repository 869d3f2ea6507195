"""From a trained encoder-decoder to a translator in the store, or to a refusal.

What `release.py` does for networks of one graph: export, hold both graphs against the network,
evaluate through the service's own code, write the manifest and the card, store.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.seq2seq import EncoderGraph, Seq2Seq, StepGraph
from service.inference.translator import Translator
from service.manifest import (
    ExplainerDefaults,
    Graph,
    Manifest,
    Parity,
    Provenance,
    SubwordMedia,
    Tensor,
)
from service.store import ModelStore, StoredModel, sha256_of
from service.tasks.subwords import END
from service.tasks.translate import Asked, outputs_of
from training import translator_parity
from training.card import card_of
from training.data.pairs import Lines
from training.export import export
from training.translation_figures import figures

ENCODER, STEP, VOCABULARY = "encode.onnx", "step.onnx", "vocabulary.model"
#: Texts that are translated together.
SCORED = 50
#: Rows and source tokens that the graphs are traced with; they have to be right for any number.
_TRACED = (2, 7)


@dataclass(frozen=True, slots=True)
class TranslatorCandidate:
    """A trained encoder-decoder that asks to be released.

    Attributes:
        summary: what it is and what it is for: the first paragraph of its card.
        vocabulary: the sentencepiece model that its tokens are numbered by.
        longest, longest_answer: tokens of a source and of a translation, END counted.
        test: source and target lines that training never saw.
        bleu: whether translations are of free text, so that BLEU says something.
        assets: role to file name and content.
    """

    name: str
    summary: str
    network: Seq2Seq
    vocabulary: bytes
    longest: int
    longest_answer: int
    test: Lines
    bleu: bool
    provenance: Provenance
    assets: Mapping[str, tuple[str, bytes]]


def release_translator(candidate: TranslatorCandidate, store: ModelStore) -> StoredModel:
    """Release a candidate as the next version of its name.

    Returns:
        The stored model; the figures in its manifest were measured through ONNX Runtime.

    Raises:
        ReleaseRefused: the graphs are not the network; nothing was stored.
        StoreError: the store cannot take it.
    """
    with tempfile.TemporaryDirectory(prefix="glassline-release-") as scratch:
        folder = Path(scratch)
        export_graphs(candidate.network, folder)
        (folder / VOCABULARY).write_bytes(candidate.vocabulary)
        for file, content in candidate.assets.values():
            (folder / file).write_bytes(content)
        version = store.next_version(candidate.name)
        none_yet = Parity(rows=1, max_abs_difference=0, label_flips=0, tolerance=1e-5)
        draft = StoredModel(_manifest(candidate, version, folder, none_yet, {}), folder)
        translator = Translator(draft)
        found = translator_parity.check(
            candidate.name, candidate.network, translator, folder / ENCODER, folder / STEP,
            candidate.test[0],
        )  # fmt: skip
        metrics = evaluate(translator, candidate)
        manifest = _manifest(candidate, version, folder, found, metrics)
        files = (ENCODER, STEP, VOCABULARY, *(file for file, _ in candidate.assets.values()))
        return store.put(manifest, {name: folder / name for name in files})


def export_graphs(network: Seq2Seq, folder: Path) -> None:
    """Write both graphs, by the exporter that leaves the number of steps free."""
    rows, source = _TRACED
    config = network.config
    tokens = np.full((rows, source), END, np.int64)
    length = np.array([source, source - 2], np.int64)
    export(
        EncoderGraph(network),
        {"tokens": tokens, "length": length},
        ["memory", "keys", "state"],
        folder / ENCODER,
        free={name: {1: "source"} for name in ("tokens", "memory", "keys")},
        exporter="torchscript",
    )
    state = np.zeros((rows, network.state_width), np.float32)
    memory = np.zeros((rows, source, 2 * config.units), np.float32)
    keys = np.zeros((rows, source, config.units), np.float32)
    export(
        StepGraph(network),
        {
            "token": tokens[:, 0], "state": state, "memory": memory, "keys": keys,
            "length": length,
        },
        ["log_probabilities", "next_state", "attention"],
        folder / STEP,
        free={name: {1: "source"} for name in ("memory", "keys", "attention")},
        exporter="torchscript",
    )  # fmt: skip


def evaluate(translator: Translator, candidate: TranslatorCandidate) -> dict[str, float]:
    """Translate the test lines as the service would, greedily and by the usual beam.

    Returns:
        See `figures`; those of greedy decoding have `_greedy` behind their names.
    """
    found: dict[str, float] = {}
    for asked, ending in ((Asked(), ""), (Asked(beam_width=1), "_greedy")):
        texts = translated(translator, candidate.test[0], asked)
        for name, value in figures(texts, candidate.test[1], candidate.bleu).items():
            found[name + ending] = value
    found["test_rows"] = float(len(candidate.test[0]))
    return found


def translated(translator: Translator, lines: tuple[str, ...], asked: Asked) -> list[str]:
    """The best translation of each line, through ONNX Runtime."""
    texts: list[str] = []
    for start in range(0, len(lines), SCORED):
        some = np.array(lines[start : start + SCORED], dtype=object)
        answer = translator.run({translator.input: some, **asked.columns(len(some))})
        texts += [str(text) for text in answer["text"][:, 0]]
    return texts


def _manifest(
    candidate: TranslatorCandidate,
    version: str,
    folder: Path,
    found: Parity,
    metrics: dict[str, float],
) -> Manifest:
    def part(file: str) -> Graph:
        return Graph(file=file, sha256=sha256_of(folder / file))

    own = {role: part(file) for role, (file, _) in candidate.assets.items()}
    manifest = Manifest(
        name=candidate.name,
        version=version,
        family="seq2seq",
        task="translate",
        graphs={"encode": part(ENCODER), "step": part(STEP)},
        assets={"vocabulary": part(VOCABULARY), **own},
        inputs=(Tensor(name="source", datatype="BYTES", shape=(-1,)),),
        outputs=outputs_of(),
        media=SubwordMedia(
            input="source", longest=candidate.longest, longest_answer=candidate.longest_answer
        ),
        explainer=ExplainerDefaults(modality="text", num_samples=500),
        evidence={"attention": "attention"},
        metrics=metrics,
        parity=found,
        provenance=candidate.provenance,
    )
    return manifest.model_copy(update={"card": card_of(manifest, candidate.summary)})
