"""A translator that is built in seconds: small, released as any other."""

from __future__ import annotations

from pathlib import Path

import torch

from models.seq2seq import Seq2Seq, Seq2SeqConfig
from service.manifest import (
    ExplainerDefaults,
    Graph,
    Manifest,
    SubwordMedia,
    Tensor,
)
from service.store import ModelStore, StoredModel
from service.tasks.subwords import Subwords
from service.tasks.translate import outputs_of
from tests.unmeasured import PARITY, PROVENANCE
from training.data.numbered import numbered, vocabulary_of
from training.lessons import one_thread
from training.train_seq2seq import loss_of
from training.translator_release import TranslatorCandidate, release_translator

#: Tokens it knows, and those a text may have.
VOCABULARY, LONGEST = 32, 24
UPDATES = 60
#: Its vocabulary is made of these.
SOURCES = ("the red fox", "a red dog", "the blue fox runs", "a dog runs", "the fox", "blue dog")
TARGETS = ("der rote fuchs", "ein roter hund", "der blaue fuchs rennt", "ein hund rennt",
           "der fuchs", "blauer hund")  # fmt: skip


def translator_manifest() -> Manifest:
    """What the small translator promises, without its files."""
    part = Graph(file="x.onnx", sha256="0" * 64)
    return Manifest(
        name="small",
        version="1",
        family="seq2seq",
        task="translate",
        graphs={"encode": part, "step": part},
        assets={"vocabulary": part},
        inputs=(Tensor(name="source", datatype="BYTES", shape=(-1,)),),
        outputs=outputs_of(),
        media=SubwordMedia(input="source", longest=LONGEST - 1, longest_answer=LONGEST),
        explainer=ExplainerDefaults(modality="text", num_samples=100),
        parity=PARITY,
        provenance=PROVENANCE,
    )


def small_network(vocabulary: bytes, cell: str = "gru", attention: str = "luong") -> Seq2Seq:
    """A network that knows the few texts by heart; a second or two."""
    torch.manual_seed(1)
    words = Subwords(vocabulary, "small")
    known = numbered((SOURCES, TARGETS), words, LONGEST)
    config = Seq2SeqConfig(len(words), cell, attention, units=16, embedding=12)  # type: ignore[arg-type]
    network = Seq2Seq(config)
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    with one_thread():
        for _ in range(UPDATES):
            loss_of(0.1)(network(known.source, known.given), known.wanted).backward()
            optimizer.step()
            optimizer.zero_grad()
    return network.eval()


def small_candidate(
    name: str = "small", cell: str = "gru", attention: str = "luong"
) -> TranslatorCandidate:
    """It, asking to be released."""
    vocabulary = vocabulary_of((SOURCES, TARGETS), VOCABULARY)
    return TranslatorCandidate(
        name=name,
        summary="A translator for tests.",
        network=small_network(vocabulary, cell, attention),
        vocabulary=vocabulary,
        longest=LONGEST - 1,
        longest_answer=LONGEST,
        test=(SOURCES, TARGETS),
        bleu=True,
        provenance=PROVENANCE,
        assets={"example": ("example.txt", SOURCES[0].encode())},
    )


def release_small_translator(
    home: Path, name: str = "small", cell: str = "gru", attention: str = "luong"
) -> StoredModel:
    """Put one into a home, through the gate that every translator passes."""
    return release_translator(small_candidate(name, cell, attention), ModelStore(home))
