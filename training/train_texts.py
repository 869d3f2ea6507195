"""Train an RNN, an LSTM or a GRU on texts and release it. Read `main` from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor

from models.recurrent import Cell, Pooling, Probabilities, RecurrentConfig
from models.recurrent_text import Bag, TextNetwork, Words, pair_numbers
from service.manifest import ExplainerDefaults, TextMedia
from service.manifest import Tensor as Declared
from service.protocol.vocabulary import FIRST, Vocabulary, padded
from service.store import ModelStore, StoredModel
from training import provenance, recurrent_losses
from training.candidate import Candidate, Held, Rows, probabilities
from training.class_weights import class_weights
from training.data import texts as source
from training.data.texts import SPLIT_SEED, BadTexts, Split, Texts
from training.fitting import Fitted, fit
from training.learning_curve import learning_curve
from training.options import RECURRENT, Options, WrongOption
from training.release import release

#: Groups of test texts, by length, that the parity gate sees.
GROUPS = 6


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train recurrent` can be told of texts; recorded in the manifest.

    Attributes:
        text, target: columns of a table.
        longest: words of a text, at most; longer ones are refused, in training too.
        min_count: how often a word must come in the training part to have a number.
        width: of a word's vector; `dropped` is the share of it that is left out in training.
        pairs: numbers that pairs of neighbours are hashed to; 0 = no bag of words.
    """

    data: str
    text: str = "text"
    target: str | None = None
    cell: Cell = "gru"
    units: int = 64
    layers: int = 1
    bidirectional: bool = False
    pooling: Pooling = "attention+max"
    truncate: int = 0
    longest: int = 256
    min_count: int = 1
    width: int = 100
    dropped: float = 0.5
    pairs: int = 2**18
    name: str = "gru-texts"
    split_seed: int = SPLIT_SEED
    options: Options = RECURRENT


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, number the words, train, release.

    Raises:
        WrongOption: an option does not fit the data or the machine.
        BadTexts, BadFile: nothing can be learnt from the data.
        GlasslineError: training diverged.
        ReleaseRefused: the exported graph is not the trained network.
    """
    if config.options.refit:
        raise WrongOption("--refit: texts choose their epoch on the validation part. Leave it out.")
    if config.options.scaling != RECURRENT.scaling:
        raise WrongOption("--scaling: words have nothing to be scaled. Leave it out.")
    texts = source.load(Path(config.data), config.text, config.target)
    parts = source.split(texts, config.split_seed)
    vocabulary = source.vocabulary_of([texts.texts[at] for at in parts.train], config.min_count)
    network, fitted = train(config, texts, parts, vocabulary, console)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release(candidate_of(config, texts, parts, vocabulary, network, fitted), store)


def train(
    config: Config, texts: Texts, parts: Split, vocabulary: Vocabulary, console: Console
) -> tuple[TextNetwork, Fitted]:
    """Fit the network; the same seed gives the same weights on the same machine.

    Returns:
        The network of logits with the weights of its best epoch, and how the fit went.
    """
    options = config.options
    torch.manual_seed(options.seed)
    shape = RecurrentConfig(
        config.cell, config.units, config.layers, config.bidirectional, config.pooling,
        len(texts.labels), options.dropout, config.truncate,
    )  # fmt: skip
    words = Words(vocabulary.count, config.width, config.dropped, config.pairs)
    network = TextNetwork(words, shape)
    lessons = [_lesson(config, texts, some, vocabulary) for some in (parts.train, parts.validation)]
    if network.bag is not None:
        begin(network.bag, *lessons[0], len(texts.labels))
    weights = class_weights(options.class_weights, texts.labels, texts.truth[parts.train])
    fitted = fit(
        network,
        loss=recurrent_losses.loss("classify"),
        score=recurrent_losses.score("classify", np.ones(1)),
        train=lessons[0],
        validation=lessons[1],
        options=options,
        title=config.name,
        console=console,
        training_loss=recurrent_losses.loss("classify", torch.from_numpy(weights)),
    )
    return network, fitted


def begin(bag: Bag, tokens: Tensor, length: Tensor, wanted: Tensor, labels: int) -> None:
    """Begin a bag with half the log-ratios of naive Bayes: how much likelier in texts of a label.

    Words and pairs are counted once a text, plus one. Padding and the unknown word say nothing.
    Source: Wang and Manning 2012, "Baselines and bigrams", ACL, sec. 2.1.
    """
    for table, numbers, lengths in (
        (bag.alone.weight, tokens, length),
        (bag.together.weight, pair_numbers(tokens, bag.pairs), length - 1),
    ):
        counts = np.ones((labels, len(table)))
        for row, label in enumerate(wanted.tolist()):
            counts[label, np.unique(numbers[row, : int(lengths[row])].numpy())] += 1
        share = counts / counts.sum(axis=1, keepdims=True)
        ratio = np.log(share) - np.log(share.mean(axis=0))
        with torch.no_grad():
            table.copy_(torch.from_numpy(ratio.T / 2))
    with torch.no_grad():
        bag.alone.weight[:FIRST] = 0


def _numbered(
    config: Config, texts: Texts, some: NDArray[np.intp], vocabulary: Vocabulary
) -> list[list[int]]:
    """Numbers of the words of some texts.

    Raises:
        BadTexts: one is too long, or has no word at all.
    """
    numbers = [vocabulary.numbers(texts.texts[at]) for at in some]
    for at, one in zip(some, numbers, strict=True):
        if not 0 < len(one) <= config.longest:
            raise BadTexts(
                f"'{texts.name}': text {at} ({texts.texts[at]!r:.60}) has {len(one)} words, wanted "
                f"1 to {config.longest}. Leave it out, cut it, or raise --longest."
            )
    return numbers


def _lesson(
    config: Config, texts: Texts, some: NDArray[np.intp], vocabulary: Vocabulary
) -> tuple[Tensor, Tensor, Tensor]:
    tokens, lengths = padded(_numbered(config, texts, some, vocabulary))
    return torch.from_numpy(tokens), torch.from_numpy(lengths), torch.from_numpy(texts.truth[some])


def candidate_of(
    config: Config,
    texts: Texts,
    parts: Split,
    vocabulary: Vocabulary,
    network: TextNetwork,
    fitted: Fitted,
) -> Candidate:
    """What is released: the network with its last step, tested on texts it has never seen."""
    numbers = _numbered(config, texts, parts.test, vocabulary)
    order = np.argsort([-len(one) for one in numbers], kind="stable")
    blocks: list[Rows] = []
    for group in np.array_split(order, min(GROUPS, len(order))):
        tokens, lengths = padded([numbers[at] for at in group])
        blocks.append({"tokens": tokens, "length": lengths})
    tokens, lengths = padded(_numbered(config, texts, parts.validation, vocabulary))
    held = Held({"tokens": tokens, "length": lengths}, texts.truth[parts.validation])
    data: dict[str, JsonValue] = {
        "name": texts.name, "sha256": texts.sha256, "licence": texts.licence,
        "split_seed": config.split_seed, "train_rows": len(parts.train),
        "validation_rows": len(parts.validation), "test_rows": len(parts.test),
        "words": len(vocabulary.words),
    }  # fmt: skip
    example = min((texts.texts[at] for at in parts.test), key=lambda text: abs(len(text) - 80))
    return Candidate(
        name=config.name,
        family="recurrent",
        task="classify",
        summary=_summary(config, texts, vocabulary),
        network=Probabilities(network),
        inputs=(Declared(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(probabilities(len(texts.labels)),),
        rows=blocks,
        truth=texts.truth[parts.test][order],
        labels=texts.labels,
        media=TextMedia(input="text", longest=config.longest),
        explainer=ExplainerDefaults(modality="text", num_samples=2000),
        assets={
            "example": ("example.txt", example.encode()),
            "vocabulary": ("vocabulary.json", vocabulary.to_json()),
            "learning_curve": ("learning-curve.png", learning_curve(fitted, config.name)),
        },
        validation=held,
        shown=[texts.texts[at] for at in parts.test[order]],
        free={"tokens": {1: "words"}},
        exporter="torchscript",
        provenance=provenance.describe(
            "training/train_texts.py", config, config.options.seed, fitted.seconds, data, network
        ),
    )


def _summary(config: Config, texts: Texts, vocabulary: Vocabulary) -> str:
    ways = "bidirectional " if config.bidirectional else ""
    bag = "with a bag of words and pairs beside it " if config.pairs else ""
    return (
        f"A {ways}{config.cell.upper()} ({config.layers} x {config.units} units) {bag}that calls a "
        f"text one of {', '.join(texts.labels[:10])}. It knows {len(vocabulary.words)} words, "
        "which its vocabulary holds; all others are one unknown word to it. It was tested on "
        "texts of the same source: of other language and other fields nothing is known."
    )
