"""`glassline train mlp`: its flags, and what its words mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service import settings as configuration
from service.store import ModelStore
from training.command_words import name_from, several
from training.commands import (
    EightBits,
    HalfPrecision,
    IfMissing,
    app,
    check_name,
    is_there,
    one_message,
    out,
    precision_of,
    report,
    told_patience,
)
from training.options import MLP, Options, WrongOption, taking


class Task(StrEnum):
    """Kinds of answer that a table can be asked for."""

    auto = "auto"
    classify = "classify"
    regress = "regress"


Data = Annotated[
    str,
    typer.Option(
        help="breast_cancer, wine, digits or diabetes (inside scikit-learn), or a CSV or Parquet "
        "file with a header row."
    ),
]
Target = Annotated[str, typer.Option(help="Column of the file to predict.", show_default=False)]
TaskOption = Annotated[
    Task,
    typer.Option(help="auto: texts, and whole numbers of at most 20 values, are classes."),
]
Drop = Annotated[
    str, typer.Option(help="Columns to leave out, separated by commas.", show_default=False)
]
Categorical = Annotated[
    str,
    typer.Option(help="Columns whose numbers only name kinds, by commas.", show_default=False),
]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing-target", help="Leave out rows whose target is a gap.")
]
Hidden = Annotated[
    str, typer.Option(help="Units of the hidden layers from the input on, by commas; '' = none.")
]
Name = Annotated[
    str,
    typer.Option(help="Name to release under; mlp- and the data's name.", show_default=False),
]


@app.command()
@taking(MLP)
def mlp(
    data: Data = "breast_cancer",
    target: Target = "",
    task: TaskOption = Task.auto,
    drop: Drop = "",
    categorical: Categorical = "",
    skip_missing_target: SkipMissing = False,
    hidden: Hidden = "100",
    name: Name = "",
    fp16: HalfPrecision = False,
    int8: EightBits = False,
    if_missing: IfMissing = False,
    *,
    options: Callable[[], Options],
) -> None:
    """Train a multilayer perceptron on a table.

    Numbers and kinds are told apart by what is in a column; gaps are filled, numbers scaled and
    kinds spread inside the graph. Two classes are decided by a sigmoid, more by a softmax.

    [dim]glassline train mlp --data wine[/dim]

    [dim]glassline train mlp --data parts.csv --target verdict --drop serial --hidden 64,32[/dim]

    [dim]glassline train mlp --data diabetes --optimizer adamw --l2 0.1 --dropout 0.2[/dim]
    """
    with one_message():
        chosen = options()
        name = name or name_of(data)
        check_name(name)
        units = _units(hidden)
        store = ModelStore(configuration.load().root)
        if if_missing and is_there(store, name):
            return
        with told_patience():
            from training import train_mlp
        config = train_mlp.Config(
            data=data, target=target or None, task=task.value, drop=several(drop),
            categorical=several(categorical), skip_missing_target=skip_missing_target,
            hidden=units, name=name, options=chosen,
            precision=precision_of(fp16, int8),
        )  # fmt: skip
        started = time.perf_counter()
        report(train_mlp.main(config, store, out), time.perf_counter() - started)


def name_of(data: str) -> str:
    """The name that a model of this data has where none is given."""
    return name_from("mlp", Path(data).stem)


def _units(hidden: str) -> tuple[int, ...]:
    units = several(hidden)
    if not all(one.isdecimal() and 0 < int(one) <= 65_536 for one in units):
        raise WrongOption(
            f"--hidden: got {hidden!r}, wanted whole numbers from 1 to 65536, for example 64,32."
        )
    return tuple(int(one) for one in units)
