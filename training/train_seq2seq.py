"""Train an encoder-decoder on pairs of texts and release it. Read `main` from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor, nn

from models.seq2seq import PAD, Seq2Seq, Seq2SeqConfig
from service.store import ModelStore, StoredModel
from service.tasks.subwords import Subwords
from training import provenance
from training.checkpoints import best_weights
from training.data import pairs
from training.data.numbered import numbered, vocabulary_of
from training.data.pairs import Pairs
from training.fitting import Fitted, Loss, fit
from training.learning_curve import learning_curve
from training.options import SEQ2SEQ, Options, WrongOption
from training.translation_figures import signature
from training.translator_release import TranslatorCandidate, release_translator

#: Rows that are validated together: each is as many logits as its tokens times the vocabulary.
VALIDATED = 128


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train seq2seq` can be told; recorded in the manifest.

    Attributes:
        data: `dates`, `multi30k` (a folder, `source` and `target` are its languages) or `files`.
        lines: of the training part of `dates`.
        vocabulary: subwords of source and target together, the four special ones counted.
        max_length: tokens of a source, and of a target; longer pairs are not trained on.
        label_smoothing: share of probability that a right token leaves to all others, [0, 1)
            (Szegedy et al. 2016, arXiv:1512.00567, sec. 7).
        scheduled_sampling: see `Taught`; 0 = teacher forcing throughout.
        data_seed: of the dates.
        warm_start: checkpoint of an earlier training with the same texts, vocabulary and sizes:
            training begins with the weights of its best epoch (warm restart: Loshchilov and
            Hutter 2017, arXiv:1608.03983).
    """

    data: Literal["dates", "multi30k", "files"] = "dates"
    folder: str = ""
    source: str = ""
    target: str = ""
    lines: int = 20_000
    cell: Literal["lstm", "gru"] = "gru"
    attention: Literal["bahdanau", "luong"] = "luong"
    units: int = 64
    embedding: int = 32
    layers: int = 1
    vocabulary: int = 300
    max_length: int = 64
    label_smoothing: float = 0.1
    scheduled_sampling: float = 0.1
    data_seed: int = pairs.SPLIT_SEED
    warm_start: str = ""
    name: str = "seq2seq-dates"
    options: Options = SEQ2SEQ


class Taught(nn.Module):
    """A network that is given the right tokens, and more and more of its own while it trains.

    Args:
        network: that is trained.
        share: of its own tokens in the last update; it grows evenly from 0 (Bengio et al. 2015,
            arXiv:1506.03099, sec. 2.4, linear decay).
        updates: of the whole training.
    """

    def __init__(self, network: Seq2Seq, share: float, updates: int) -> None:
        super().__init__()
        self.network = network
        self.share = share
        self.updates = updates
        # Part of the state: a training that goes on from a checkpoint knows how far it was.
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.done: Tensor

    def forward(self, source: Tensor, given: Tensor) -> Tensor:
        source, given = _trimmed(source), _trimmed(given)
        if not self.training:
            logits: Tensor = self.network(source, given)
            return logits
        self.done += 1
        logits = self.network(source, given, self.share * int(self.done) / self.updates)
        return logits


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, train, release.

    Raises:
        WrongOption: an option does not fit the texts or the machine.
        BadTexts: nothing can be learnt from the texts.
        GlasslineError: training diverged.
        ReleaseRefused: the exported graphs are not the trained network.
    """
    data = load(config)
    with console.status("making the vocabulary ..."):
        vocabulary = vocabulary_of(data.train, config.vocabulary)
    subwords = Subwords(vocabulary, config.name)
    network, fitted = train(config, data, subwords, console)
    with console.status("exporting, comparing with the trained network, translating ..."):
        return release_translator(candidate_of(config, data, vocabulary, network, fitted), store)


def train(
    config: Config, data: Pairs, subwords: Subwords, console: Console
) -> tuple[Seq2Seq, Fitted]:
    """Fit the network; the same seed gives the same weights on the same machine."""
    options = config.options
    parts = [
        numbered(lines, subwords, config.max_length) for lines in (data.train, data.validation)
    ]
    torch.manual_seed(options.seed)
    network = Seq2Seq(
        Seq2SeqConfig(
            len(subwords), config.cell, config.attention, config.units, config.embedding,
            config.layers, options.dropout,
        )
    )  # fmt: skip
    if config.warm_start:
        begin_with(network, Path(config.warm_start))
    rows = len(parts[0].length)
    size = {"full": rows, "mini": options.batch_size, "stochastic": 1}[options.batch_mode]
    updates = options.epochs * -(-rows // size)
    fitted = fit(
        Taught(network, config.scheduled_sampling, updates),
        loss=loss_of(0.0),
        score=("accuracy", token_accuracy),
        train=(parts[0].source, parts[0].given, parts[0].wanted),
        validation=(parts[1].source, parts[1].given, parts[1].wanted),
        options=options,
        title=config.name,
        console=console,
        training_loss=loss_of(config.label_smoothing),
        lengths=parts[0].length,
        validated=VALIDATED,
    )
    return network, fitted


def candidate_of(
    config: Config, data: Pairs, vocabulary: bytes, network: Seq2Seq, fitted: Fitted
) -> TranslatorCandidate:
    """What is released: the network, tested on lines that it has never seen."""
    bleu = config.data != "dates"
    source: dict[str, JsonValue] = {
        "name": data.name,
        "sha256": data.sha256,
        "licence": data.licence,
        "train_rows": len(data.train[0]),
        "validation_rows": len(data.validation[0]),
        "test_rows": len(data.test[0]),
    }
    if bleu:
        source["bleu"] = f"sacreBLEU {signature()}"
    return TranslatorCandidate(
        name=config.name,
        summary=_summary(config, data),
        network=network,
        vocabulary=vocabulary,
        longest=config.max_length - 1,
        longest_answer=config.max_length,
        test=data.test,
        bleu=bleu,
        assets={
            "example": ("example.txt", data.test[0][0].encode()),
            "learning_curve": ("learning-curve.png", learning_curve(fitted, config.name)),
        },
        provenance=provenance.describe(
            "training/train_seq2seq.py", config, config.options.seed, fitted.seconds, source,
            network,
        ),
    )  # fmt: skip


def begin_with(network: Seq2Seq, path: Path) -> None:
    """Put the weights of a checkpoint's best epoch into a network.

    Raises:
        WrongOption: it is no checkpoint, or of a network of another size or kind.
    """
    weights = best_weights(path, "--warm-start")
    try:
        network.load_state_dict(
            {
                name.removeprefix("network."): tensor
                for name, tensor in weights.items()
                if name != "done"
            }
        )
    except RuntimeError as error:
        raise WrongOption(
            f"--warm-start: {path} holds weights of another network "
            f"({str(error).splitlines()[1].strip():.120}). Give the sizes that it was made with."
        ) from None


def load(config: Config) -> Pairs:
    """The texts that the configuration names.

    Raises:
        BadTexts: nothing can be learnt from them.
    """
    if config.data == "dates":
        return pairs.from_dates(config.lines, config.data_seed)
    if config.data == "multi30k":
        return pairs.from_multi30k(Path(config.folder), config.source, config.target)
    return pairs.from_files(Path(config.source), Path(config.target))


def _summary(config: Config, data: Pairs) -> str:
    kind = f"{config.layers} x {config.units} units of {config.cell.upper()}"
    attention = {"bahdanau": "additive (Bahdanau)", "luong": "multiplicative (Luong)"}
    return (
        f"An encoder-decoder ({kind} a side, {attention[config.attention]} attention) that was "
        f"trained on {data.name}. It writes the most probable text that a beam search finds; of "
        "texts of another kind or language nothing is known."
    )


def loss_of(smoothing: float) -> Loss:
    """Cross-entropy a token, in nats."""

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        wanted = wanted[:, : logits.shape[1]]
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD, label_smoothing=smoothing
        )

    return loss


def token_accuracy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Share of tokens that are right, the right ones before them given."""
    wanted = wanted[:, : logits.shape[1]]
    right = (logits.argmax(dim=2) == wanted) & (wanted != PAD)
    return right.sum() / (wanted != PAD).sum()


def _trimmed(tokens: Tensor) -> Tensor:
    """Without the places that are padded in every row."""
    return tokens[:, : int((tokens != PAD).sum(dim=1).max())]
