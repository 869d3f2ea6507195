"""`glassline models recalibrate` and `gallery`: what may change beside a graph."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from service import settings as configuration
from service.errors import InvalidParameter

if TYPE_CHECKING:
    from service.audit.search import Query
    from service.manifest import Adaptive, EventBudget, RateBudget
    from service.store import ModelStore, StoredModel

out = Console()
err = Console(stderr=True)
ModelArgument = Annotated[
    str, typer.Argument(help="NAME, or NAME@VERSION; of a name alone the newest.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `glassline models`."""
    app.command()(recalibrate)
    app.command()(gallery)


def recalibrate(
    model: ModelArgument,
    budget: Annotated[
        float | None, typer.Option(help="Share of anomaly-free rows that may raise an alarm: 0.01.")
    ] = None,
    events_per_hour: Annotated[
        float | None, typer.Option(help="Or so many false alarms an hour; with --rows-per-hour.")
    ] = None,
    rows_per_hour: Annotated[
        float | None, typer.Option(help="Rows that come in an hour: 3600 where one comes a second.")
    ] = None,
    method: Annotated[
        Literal["conformal", "evt"] | None,
        typer.Option(
            help="conformal keeps the budget; evt is an order of magnitude, for budgets"
            " that no calibration has rows enough for."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Anomaly-free rows: a folder of pictures, a .csv, or a .npy. The graph"
            " scores them."
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Or anomaly-free scores of this very model: .npy, or a number a line."),
    ] = None,
    constant: Annotated[
        list[str] | None, typer.Option(help="A sensor that never moves, and need not; repeat.")
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(help="Streams: step of the adaptation to drift (0.005).")
    ] = None,
    buffer: Annotated[
        int | None, typer.Option(help="Streams: scores that p-values are taken from (1000).")
    ] = None,
    cap: Annotated[
        float | None, typer.Option(help="Streams: most that the level may be, in rates (10).")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it goes into the record.")] = "",
) -> None:
    """Give a detector another threshold, without training it again.

    Its graph stays, digest and all; a new version stands beside it, whose manifest says what it
    comes from. The change is recorded in the audit log (kind `calibration`), with who did it and
    the calibrations before and after. Running servers go on with the version they serve until
    they are told to load.

    What is not given stays as it was: the budget, the method, the scores.

    A budget of 1 % takes at least 99 anomaly-free rows that training never saw, and about 4,200
    to be kept within a quarter. service/anomaly/README.md says why.

    [dim]glassline models recalibrate pump --budget 0.005[/dim]

    [dim]glassline models recalibrate pump --data quiet-week.csv --reason "new bearings"[/dim]

    [dim]glassline models recalibrate boards@3 --events-per-hour 1 --rows-per-hour 3600[/dim]
    """
    from service import recalibration

    store, stored, settings = _stored(model)
    if data is not None and scores is not None:
        raise InvalidParameter("--scores: got --data as well. Take one.")
    asked = recalibration.Asked(
        budget=_budget(budget, events_per_hour, rows_per_hour),
        method=method,
        adaptive=_adaptive(stored, gamma, buffer, cap),
        scores=scores,
        data=data,
        constant=tuple(constant or ()),
        person=getpass.getuser(),
        reason=reason,
    )
    with _bar("scoring") as progress:
        fresh, record = recalibration.recalibrate(store, stored, asked, settings, progress)
    calibration = fresh.manifest.calibration
    assert calibration is not None  # it has just been made
    out.print(f"{fresh.manifest.reference}: from {stored.manifest.reference}, the same graph")
    out.print(calibration.told().removeprefix("- "), soft_wrap=True, highlight=False)
    _warn_few(calibration.n, calibration.budget.rate, calibration.method)
    out.print(f"record {record}", soft_wrap=True)
    _how_to_serve(fresh)


def gallery(
    model: ModelArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Rows to remember: a folder of pictures, a .csv, or a .npy. Their ids"
            " are the files' names."
        ),
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(
            help="Or past predictions, as `audit search` finds them:"
            " 'decision=anomaly,since=2026-03-01T00:00:00Z'; 'all' for all of the model."
        ),
    ] = None,
    taken_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Take over the gallery of another version with the same graph, NAME@VERSION.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="The vector; `latent`, or the first output of a model that embeds, if not given."
        ),
    ] = None,
    metric: Annotated[
        Literal["euclidean", "cosine"] | None, typer.Option(help="What near means.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew instead of adding to the gallery.")
    ] = False,
) -> None:
    """Remember what earlier parts looked like, for `POST /v2/models/NAME/similar`.

    Vectors are computed by the graph that is served, and stored beside it in a new version. What
    the gallery has already is not added again. Vectors of another graph are refused: a model that
    was trained again needs a gallery of its own.

    [dim]glassline models gallery boards --data returns-2026/[/dim]

    [dim]glassline models gallery boards --records decision=anomaly[/dim]
    """
    from service import gallery_building

    store, stored, settings = _stored(model)
    if (data is not None) + (records is not None) > 1 or not (data or records or taken_from):
        raise InvalidParameter("wanted one of --data and --records, or --from.")
    asked = gallery_building.Asked(
        data=data,
        records=None if records is None else _query(records, stored.manifest.name),
        taken_from=None if taken_from is None else _stored(taken_from)[1],
        output=output,
        metric=metric,
        fresh=fresh,
        person=getpass.getuser(),
    )
    with _bar("computing vectors") as progress:
        made, added = gallery_building.build(store, stored, asked, settings, progress)
    about = made.manifest.gallery
    assert about is not None  # it has just been made
    out.print(
        f"{made.manifest.reference}: {added} vectors added, {about.count} in all, of output "
        f"'{about.output}' ({about.dimension} values, {about.metric})", soft_wrap=True,
    )  # fmt: skip
    _how_to_serve(made)


def _stored(model: str) -> tuple[ModelStore, StoredModel, configuration.Settings]:
    from service.store import ModelStore

    settings = configuration.load()
    store = ModelStore(settings.root)
    name, _, version = model.partition("@")
    return store, store.get(name, version or None), settings


def _budget(
    rate: float | None, events: float | None, rows: float | None
) -> RateBudget | EventBudget | None:
    from pydantic import ValidationError

    from service.manifest import EventBudget, RateBudget

    if rate is not None and (events is not None or rows is not None):
        raise InvalidParameter("--budget: got --events-per-hour as well. Take one.")
    if (events is None) != (rows is None):
        raise InvalidParameter("--events-per-hour and --rows-per-hour: wanted both, or none.")
    try:
        if events is not None and rows is not None:
            return EventBudget(events_per_hour=events, rows_per_hour=rows)
        return None if rate is None else RateBudget(rate=rate)
    except ValidationError as error:
        said = "; ".join(one["msg"] for one in error.errors())
        raise InvalidParameter(f"budget: {said}. A rate is more than 0 and below 1.") from None


def _adaptive(
    stored: StoredModel, gamma: float | None, buffer: int | None, cap: float | None
) -> Adaptive | None:
    from pydantic import ValidationError

    from service.manifest import Adaptive

    given = {"gamma": gamma, "buffer": buffer, "cap": cap}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        return None
    calibration = stored.manifest.calibration
    before = calibration.adaptive if calibration is not None else None
    try:
        return Adaptive(**{**(before.model_dump() if before else {}), **changes})
    except ValidationError as error:
        said = "; ".join(f"--{one['loc'][0]}: {one['msg']}" for one in error.errors())
        raise InvalidParameter(f"{said}.") from None


def _query(text: str, name: str) -> Query:
    """Predictions of the model, as `name=value,name=value` narrows them down."""
    from service.audit.search import Query

    filters: dict[str, Any] = {}
    known = ("since", "until", "version", "decision", "score_min", "score_max", "caller", "review")
    for pair in text.split(",") if text != "all" else ():
        key, equals, value = pair.strip().partition("=")
        if not equals or key not in known:
            raise InvalidParameter(
                f"--records: got '{pair}', wanted name=value, with a name of {', '.join(known)}; "
                "or 'all'."
            )
        try:
            filters[key] = _filter(key, value)
        except ValueError:
            raise InvalidParameter(f"--records: {key}: got '{value}'.") from None
    return Query(kind="prediction", model=name, order="oldest", **filters)


def _filter(key: str, value: str) -> str | float | datetime:
    if key in ("since", "until"):
        return datetime.fromisoformat(value)
    return float(value) if key.startswith("score_") else value


def _warn_few(n: int, rate: float, method: str) -> None:
    from service.anomaly.conformal import wanted_rows

    if method == "conformal" and n < (wanted := wanted_rows(rate)):
        err.print(
            f"[yellow]note:[/yellow] {n} rows; about {wanted} would keep the budget within a "
            "quarter in nine cases of ten.", soft_wrap=True, highlight=False,
        )  # fmt: skip


def _how_to_serve(stored: StoredModel) -> None:
    name = stored.manifest.name
    out.print(
        f"Running servers follow with: curl -X POST .../v2/repository/models/{name}/load",
        soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    """Told how many are done and how many there are; nothing where there is no terminal."""
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        task: list[TaskID] = []

        def told(done: int, total: int | None) -> None:
            if not task:
                task.append(progress.add_task(title, total=total))
            progress.update(task[0], completed=done, total=total)

        yield told
