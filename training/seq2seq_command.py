"""`glassline train seq2seq`: its flags, and what its words mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from service import settings as configuration
from service.store import ModelStore
from training.command_words import name_from
from training.commands import (
    IfMissing,
    app,
    check_name,
    is_there,
    one_message,
    out,
    report,
    told_patience,
)
from training.options import SEQ2SEQ, Limits, Options, WrongOption, flag_of, taking


class Cell(StrEnum):
    """Kinds of recurrence."""

    lstm = "lstm"
    gru = "gru"


class Attention(StrEnum):
    """Kinds of attention."""

    bahdanau = "bahdanau"
    luong = "luong"


#: Where the numbers of this command must lie.
_LIMITS = {
    "lines": Limits(50, 10_000_000),
    "units": Limits(1, 65_536),
    "embedding": Limits(1, 65_536),
    "layers": Limits(1, 64),
    "vocabulary": Limits(8, 1_000_000),
    "max_length": Limits(4, 4096),
    "label_smoothing": Limits(0, 1, open="high"),
    "scheduled_sampling": Limits(0, 1),
}

Data = Annotated[
    str,
    typer.Option(
        help="dates (generated), or the folder of Multi30k; leave it out with --source FILE "
        "--target FILE."
    ),
]
Source = Annotated[
    str,
    typer.Option(
        help="Text file, a line each, .gz or plain; of Multi30k a language: en, de, fr.",
        show_default=False,
    ),
]
Target = Annotated[
    str, typer.Option(help="The same, line i belonging to line i of it.", show_default=False)
]
Lines = Annotated[int, typer.Option(help="Dates to learn from; a tenth as many are tested.")]
CellOption = Annotated[Cell, typer.Option(help="Recurrence of encoder and decoder.")]
AttentionOption = Annotated[
    Attention,
    typer.Option(help="bahdanau: additive, before the token; luong: multiplicative, after it."),
]
Units = Annotated[
    int, typer.Option(help="Of each direction of the encoder and each layer of the decoder.")
]
Embedding = Annotated[int, typer.Option(help="Numbers a token is embedded in.")]
Layers = Annotated[int, typer.Option(help="Of the encoder, and as many of the decoder.")]
Vocabulary = Annotated[
    int, typer.Option(help="Subwords of both sides together; 0 = 300 for dates, else 5000.")
]
MaxLength = Annotated[
    int, typer.Option(help="Tokens of a text; longer pairs are left out, longer texts refused.")
]
Smoothing = Annotated[
    float, typer.Option(help="Share of probability that a right token leaves to all others.")
]
Sampling = Annotated[
    float,
    typer.Option(
        help="Share of the network's own tokens that it goes on from in the last update; it "
        "grows from 0, where it is given the right ones alone (teacher forcing)."
    ),
]
WarmStart = Annotated[
    str,
    typer.Option(
        help="Checkpoint of an earlier training of the same sizes on the same texts, whose best "
        "weights this one begins with.",
        show_default=False,
    ),
]
Name = Annotated[
    str,
    typer.Option(help="Name to release under; seq2seq- and the data's name.", show_default=False),
]


@app.command()
@taking(SEQ2SEQ, without=("activation", "scaling", "class_weights", "refit", "devices"))
def seq2seq(
    data: Data = "dates",
    source: Source = "",
    target: Target = "",
    lines: Lines = 20_000,
    cell: CellOption = Cell.gru,
    attention: AttentionOption = Attention.luong,
    units: Units = 64,
    embedding: Embedding = 32,
    layers: Layers = 1,
    vocabulary: Vocabulary = 0,
    max_length: MaxLength = 64,
    label_smoothing: Smoothing = 0.1,
    scheduled_sampling: Sampling = 0.1,
    warm_start: WarmStart = "",
    name: Name = "",
    if_missing: IfMissing = False,
    *,
    options: Callable[[], Options],
) -> None:
    """Train an encoder-decoder with attention: one text to another.

    Without options: dates as people write them in 43 languages to ISO 8601. What is released
    translates by beam search; the tokenizer is inside the model.

    [dim]glassline train seq2seq[/dim]

    [dim]glassline train seq2seq --cell lstm --attention bahdanau --name dates-lstm[/dim]

    [dim]glassline train seq2seq --source faults.de --target faults.en --units 256[/dim]

    [dim]glassline train seq2seq --data multi30k/ --source en --target de --units 256
    --embedding 192 --batch-size 64 --learning-rate 0.0025 --dropout 0.2 --epochs 7[/dim]
    """
    with one_message():
        kind = _kind(data, source, target)
        values: dict[str, Any] = {
            "lines": lines, "units": units, "embedding": embedding, "layers": layers,
            "vocabulary": vocabulary or (300 if kind == "dates" else 5000),
            "max_length": max_length, "label_smoothing": label_smoothing,
            "scheduled_sampling": scheduled_sampling,
        }  # fmt: skip
        for option, value in values.items():
            if not _LIMITS[option].hold(value):
                raise WrongOption(f"{flag_of(option)}: got {value:g}, wanted {_LIMITS[option]}.")
        chosen = options()
        name = name or name_of(kind, source, target)
        check_name(name)
        store = ModelStore(configuration.load().root)
        if if_missing and is_there(store, name):
            return
        with told_patience():
            from training import train_seq2seq
        config = train_seq2seq.Config(
            data=kind, folder=data if kind == "multi30k" else "", source=source, target=target,
            cell=cell.value, attention=attention.value, name=name, warm_start=warm_start,
            options=chosen, **values,
        )  # fmt: skip
        started = time.perf_counter()
        report(train_seq2seq.main(config, store, out), time.perf_counter() - started)


def name_of(kind: str, source: str, target: str) -> str:
    """The name that a model of this data has where none is given."""
    words = {"dates": "dates", "multi30k": f"multi30k-{source}-{target}"}
    said = words.get(kind, source.rpartition("/")[2])
    return name_from("seq2seq", said)


def _kind(data: str, source: str, target: str) -> Any:
    """`dates`, `multi30k` or `files`."""
    if bool(source) != bool(target):
        given, missing = ("--source", "--target") if source else ("--target", "--source")
        raise WrongOption(f"{missing}: got none with {given}. Give both, line i with line i.")
    if data != "dates":
        if not source:
            raise WrongOption("--source: got none with --data. Give two languages: en, de, fr.")
        return "multi30k"
    return "files" if source else "dates"
