"""`glassline train recurrent`: its flags, and what its words mean."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from service import settings as configuration
from service.store import ModelStore
from training.command_words import Gaps, flag, name_from, several
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
from training.options import RECURRENT, Options, WrongOption, flag_of, taking

DEFAULT = "japanese-vowels"
_SERIES, _TEXTS = "Series", "Texts"


class CellName(StrEnum):
    """Recurrent cells."""

    rnn = "rnn"
    lstm = "lstm"
    gru = "gru"


class PoolingName(StrEnum):
    """What is read of the states."""

    auto = "auto"
    last = "last"
    mean = "mean"
    max = "max"
    attention = "attention"
    mean_max = "mean+max"
    attention_max = "attention+max"


class TaskName(StrEnum):
    """Kinds of answer that sequences can be asked for."""

    auto = "auto"
    classify = "classify"
    regress = "regress"
    forecast = "forecast"


Data = Annotated[
    str,
    flag(
        "japanese-vowels (inside sktime); a CSV or Parquet file, a line a step; a folder of NASA's "
        "C-MAPSS; or texts: a folder with a file a label, or a .txt or .tsv file of lines "
        "label<TAB>text, or a table with --text."
    ),
]
Target = Annotated[str, flag("Column to predict, or channel to forecast.", show_default=False)]
Task = Annotated[TaskName, flag("auto: texts, and whole numbers of few values, are classes.")]
Cell = Annotated[CellName, flag("Recurrent cell.", "Network")]
Units = Annotated[int, flag("Units of each layer and direction.", "Network", min=1, max=4096)]
Layers = Annotated[int, flag("Recurrent layers.", "Network", min=1, max=16)]
Ways = Annotated[bool, flag("Read both ways.", "Network")]
Pooling = Annotated[
    PoolingName,
    flag("What is read of the states; auto: last of series, attention+max of texts.", "Network"),
]
Truncate = Annotated[
    int,
    flag("Steps that gradients go back through, at most; 0 = all (TBPTT).", "Network", min=0),
]
SequenceColumn = Annotated[str, flag("Column that says which sequence a line is of.", _SERIES)]
TimeColumn = Annotated[str, flag("Column that orders the lines of a sequence.", _SERIES, "--time")]
Drop = Annotated[str, flag("Columns to leave out, by commas.", _SERIES, show_default=False)]
Window = Annotated[int, flag("Steps of a window, at most; 0 = whole sequences.", _SERIES, min=0)]
Shortest = Annotated[int, flag("Steps that can be asked about, at least.", _SERIES, min=1)]
Stride = Annotated[int, flag("Steps between the ends of two windows.", _SERIES, min=1)]
Horizon = Annotated[int, flag("Steps ahead of a forecast.", _SERIES, min=1, max=1024)]
Noise = Annotated[
    float, flag("Deviation of what is added to scaled channels in training.", _SERIES, min=0)
]
GapsOption = Annotated[Gaps, flag("What becomes of gaps, here and in serving.", _SERIES)]
IntervalLevel = Annotated[
    float,
    flag("Share of truths that `lower` to `upper` of a regression hold; 0 = none.", _SERIES,
         min=0, max=0.999),
]  # fmt: skip
Text = Annotated[str, flag("Column of a table that holds texts.", _TEXTS, show_default=False)]
Longest = Annotated[
    int,
    flag(
        "Steps or words that can be asked about, at most; 0 = those of --window, or 256 words.",
        min=0,
    ),
]
MinCount = Annotated[int, flag("How often a known word must come.", _TEXTS, min=1)]
Width = Annotated[int, flag("Of a word's vector.", _TEXTS, min=1, max=4096)]
Dropped = Annotated[
    float, flag("Share of words' vectors left out in training.", _TEXTS, min=0, max=0.99)
]
Pairs = Annotated[
    int, flag("Numbers that pairs of words are hashed to; 0 = no bag of words.", _TEXTS, min=0)
]
Name = Annotated[
    str, flag("Name to release under; the cell's and the data's name.", show_default=False)
]


@app.command()
@taking(RECURRENT, without=("activation",))
def recurrent(
    data: Data = DEFAULT,
    target: Target = "",
    task: Task = TaskName.auto,
    cell: Cell = CellName.gru,
    units: Units = 64,
    layers: Layers = 1,
    bidirectional: Ways = False,
    pooling: Pooling = PoolingName.auto,
    truncate: Truncate = 0,
    sequence: SequenceColumn = "id",
    time_column: TimeColumn = "time",
    drop: Drop = "",
    window: Window = 0,
    shortest: Shortest = 1,
    stride: Stride = 1,
    horizon: Horizon = 1,
    noise: Noise = 0.0,
    gaps: GapsOption = Gaps.refuse,
    interval: IntervalLevel = 0.9,
    text: Text = "",
    longest: Longest = 0,
    min_count: MinCount = 1,
    width: Width = 100,
    dropped: Dropped = 0.5,
    pairs: Pairs = 2**18,
    name: Name = "",
    if_missing: IfMissing = False,
    *,
    options: Callable[[], Options],
) -> None:
    """Train an RNN, an LSTM or a GRU on series or on texts of any length.

    Padding never changes an answer. Parts are split by sequence, never by window. Regressions
    come with an interval, calibrated on sequences that training never saw.

    [dim]glassline train recurrent --bidirectional --pooling mean[/dim]

    [dim]glassline train recurrent --data runs.csv --target wear --window 50 --stride 5[/dim]

    [dim]glassline train recurrent --data runs.csv --task forecast --target heat --horizon 6[/dim]

    [dim]glassline train recurrent --data reviews/ --cell lstm --bidirectional --epochs 6[/dim]
    """
    with one_message():
        chosen = options()
        name = name or name_of(cell.value, data)
        check_name(name)
        shape: dict[str, Any] = {
            "data": data, "target": target or None, "cell": cell.value, "units": units,
            "layers": layers, "bidirectional": bidirectional, "truncate": truncate, "name": name,
            "options": chosen,
        }  # fmt: skip
        _check(bidirectional, truncate, window, shortest, longest)
        store = ModelStore(configuration.load().root)
        if if_missing and is_there(store, name):
            return
        # Torch's older exporter tells of shapes that it does not infer; the gate looks at them.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        with told_patience():
            from training import recurrent_config, train_recurrent, train_texts
        started = time.perf_counter()
        of_series: dict[str, Any] = {
            "task": task.value, "sequence": sequence, "time": time_column, "window": window,
            "shortest": shortest, "stride": stride, "horizon": horizon, "noise": noise,
            "gaps": gaps.value, "interval": interval,
            "drop": several(drop),
        }  # fmt: skip
        of_texts: dict[str, Any] = {
            "text": text or "text", "min_count": min_count, "width": width, "dropped": dropped,
            "pairs": pairs,
        }  # fmt: skip
        if is_texts(data, text):
            _refuse(of_series, recurrent_config.Config, f"'{data}' holds texts")
            texts = train_texts.Config(
                **shape, **of_texts, longest=longest or 256, pooling=_read(pooling, "attention+max")
            )
            stored = train_texts.main(texts, store, out)
        else:
            _refuse(of_texts, train_texts.Config, f"'{data}' holds series")
            series = recurrent_config.Config(
                **shape, **of_series, longest=longest, pooling=_read(pooling, "last")
            )
            stored = train_recurrent.main(series, store, out)
        report(stored, time.perf_counter() - started)


def name_of(cell: str, data: str) -> str:
    """The name that a model of this data has where none is given."""
    return name_from(cell, Path(data).stem)


def is_texts(data: str, text: str) -> bool:
    """Whether data are texts: a column of them is named, or there is nothing else in them."""
    path = Path(data)
    if text or path.suffix in (".txt", ".tsv"):
        return True
    return path.is_dir() and not any(path.glob("train_FD00?.txt"))


def _refuse(given: dict[str, Any], config: Any, why: str) -> None:
    """Refuse flags that mean nothing to the data.

    Raises:
        WrongOption: one of these is not its default.
    """
    usual = {one.name: one.default for one in dataclasses.fields(config)}
    for name, value in given.items():
        if value != usual[name]:
            raise WrongOption(f"{flag_of(name)}: got {value!r}, but {why}. Leave it out.")


def _read(pooling: PoolingName, usual: str) -> Any:
    return usual if pooling is PoolingName.auto else pooling.value


def _check(bidirectional: bool, truncate: int, window: int, shortest: int, longest: int) -> None:
    if bidirectional and truncate:
        raise WrongOption(
            "--truncate: steps cannot be left behind by a network that reads both ways. Leave it "
            "out, or --bidirectional."
        )
    if window and shortest > window:
        raise WrongOption(
            f"--shortest: got {shortest}, wanted at most the {window} steps of --window."
        )
    if longest and shortest > longest:
        raise WrongOption(f"--shortest: got {shortest}, wanted at most the {longest} of --longest.")
