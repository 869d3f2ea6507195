"""`glassline replay`: what a budget, or a version of a model, would have alarmed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from service import settings as configuration
from service.anomaly.stream_config import StreamConfig
from service.errors import InvalidParameter

if TYPE_CHECKING:
    from service.backfill.recording import Recording

out = Console()
err = Console(stderr=True)
_BUDGET = re.compile(r"([0-9.]+)(/h|%)?")


def replay(
    file: Annotated[
        Path,
        typer.Argument(
            help="Recorded rows: .csv, .ndjson or .parquet, a column each sensor.",
            exists=True,
            dir_okay=False,
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="NAME, or NAME@VERSION.")],
    budget: Annotated[
        str,
        typer.Option(help="False alarms: 1/h events an hour; 1% or 0.01 of the rows."),
    ] = "1/h",
    compare: Annotated[
        str | None,
        typer.Option(help="Beside it: another budget (5/h), or another model (NAME@VERSION)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to draw: .html (a page) or .png (the plot)."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Write the alarm log here, a JSON object a line.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Column of the times, or two as Date+Time; else time, timestamp, datetime or "
            "date. Numbers are seconds, ms, us or ns since 1970."
        ),
    ] = None,
    time_format: Annotated[
        str | None, typer.Option(help="How times are written, as '%m/%d/%Y %I:%M:%S %p'.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="Of times without an offset, as Europe/Berlin; UTC if not given."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="SENSOR=COLUMN, where a sensor has another name in the file."),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="Of numbers, . or a comma; told from the file.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="A word that says that nothing was measured, as 'Bad Input'."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(help="Column above 0 where a fault is known: what was alarmed, how late."),
    ] = None,
    stream: Annotated[
        str, typer.Option(help="Name of the stream, LINE.GROUP; it stands in the log.")
    ] = "replay.file",
    more: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting of a stream, name=value, as often as needed."),
    ] = None,
) -> None:
    """Run recorded rows through a model as a server would, without one: alarms, load, a plot.

    The alarm log is byte for byte what a server logs that is sent these rows as history. Two
    budgets, or two versions of a model, stand side by side with --compare.

    [dim]glassline replay pump.csv --model press --budget 1/h --compare 5/h -o pump.html[/dim]

    [dim]glassline replay pump.csv --model press@2 --compare press@1 --set on_delay_s=3[/dim]
    """
    from service.backfill.cells import Form
    from service.backfill.page import page
    from service.backfill.picture import draw
    from service.backfill.recording import read
    from service.backfill.run import Replayed, replayed
    from service.inference.registry import Registry
    from service.store import ModelStore
    from service.streaming.scoring import Scorer

    if output is not None and output.suffix.lower() not in (".html", ".png"):
        raise InvalidParameter(f"{output}: wanted a name that ends in .html or .png.")
    settings = configuration.load()
    registry = Registry(ModelStore(settings.root), settings.device, serves=False)
    asked = [(model, budget)]
    if compare is not None:
        other = _BUDGET.fullmatch(compare)
        asked.append((model, compare) if other else (compare, budget))
    runs: list[Replayed] = []
    recordings: dict[tuple[str, ...], Recording] = {}
    form = Form(
        time, time_format, zone, decimal, dict(pairs(column, "--column", "flow=Durchfluss")),
        tuple(missing or ()), truth,
    )  # fmt: skip
    with _progress() as progress:
        for name, allowed in asked:
            base, _, version = name.partition("@")
            scorer = Scorer(registry.get(base, version or None))
            seen = scorer.subject.sensors
            config = StreamConfig.parse({**_budget(allowed), **_set(more)}, "replay")
            if seen not in recordings:
                task = progress.add_task(f"reading {file.name}", total=None)
                recordings[seen] = read(
                    file, seen, form,
                    lambda share, t=task: progress.update(  # type: ignore[misc]
                        t, total=file.stat().st_size, completed=share * file.stat().st_size
                    ),
                )  # fmt: skip
                progress.remove_task(task)
            recording = recordings[seen]
            label = f"{scorer.model.manifest.reference}, {allowed}"
            task = progress.add_task(label, total=len(recording.times))
            runs.append(
                replayed(
                    scorer, recording, config, stream, label,
                    lambda rows, t=task: progress.advance(t, rows),  # type: ignore[misc]
                )
            )  # fmt: skip
    recording, sensors = _widest(recordings)
    _tell(recording, runs)
    for note in recording.notes:
        err.print(note, highlight=False, soft_wrap=True, markup=False)
    if recording.left_out:
        left = f"columns left out: {', '.join(recording.left_out)}"
        err.print(left, highlight=False, soft_wrap=True, markup=False)
    if log is not None:
        log.write_bytes(runs[0].log())
        out.print(f"wrote {log}", soft_wrap=True)
    if output is not None:
        picture = draw(recording, sensors, runs)
        if output.suffix.lower() == ".png":
            output.write_bytes(picture)
        else:
            output.write_text(page(recording, sensors, picture, runs, _headline(runs)))
        out.print(f"wrote {output}", soft_wrap=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), console=err, transient=True,
    )  # fmt: skip


def _widest(recordings: dict[tuple[str, ...], Recording]) -> tuple[Recording, tuple[str, ...]]:
    """The recording that is drawn, of two whose models have other sensors, and its sensors."""
    sensors = max(recordings, key=len)
    return recordings[sensors], sensors


def _budget(text: str) -> dict[str, Any]:
    match = _BUDGET.fullmatch(text)
    try:
        value = float(match[1]) if match else 0.0
    except ValueError:
        value = 0.0
    if not match or value <= 0:
        raise InvalidParameter(
            f"budget: got '{text}', wanted events an hour (1/h), or a share of rows (1%, 0.01)."
        )
    if match[2] == "/h":
        return {"events_per_hour": value}
    return {"rate": value / 100 if match[2] == "%" else value}


def pairs(given: Sequence[str] | None, option: str, example: str) -> list[tuple[str, str]]:
    """Options of the form name=value.

    Raises:
        InvalidParameter: one is not.
    """
    found = []
    for pair in given or ():
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise InvalidParameter(f"{option}: got '{pair}', wanted {example}.")
        found.append((name.strip(), text.strip()))
    return found


def _set(given: Sequence[str] | None) -> dict[str, Any]:
    import orjson

    values: dict[str, Any] = {}
    for name, text in pairs(given, "--set", "name=value, as on_delay_s=3"):
        try:
            values[name] = orjson.loads(text)
        except orjson.JSONDecodeError:
            values[name] = text
    return values


def _headline(runs: Sequence[Any]) -> str:
    from service.backfill.page import raised

    return "; ".join(
        f"{len(raised(run)) or 'No'} alarm{'s' if len(raised(run)) != 1 else ''} with {run.label}"
        for run in runs
    )


def _tell(recording: Recording, runs: Sequence[Any]) -> None:
    """Alarms and load, on standard output."""
    from service.backfill.alarm_table import alarms
    from service.backfill.page import comparison

    for run in runs:
        found = alarms(run)
        if found.rows:
            table = Table(title=run.label)
            for name in found.header[:-1]:
                table.add_column(name, no_wrap=True)
            table.add_column(found.header[-1], overflow="fold")
            for row in found.rows:
                table.add_row(*row)
            out.print(table)
    grid = comparison(recording, runs)
    table = Table(*grid.header)
    for row in grid.rows:
        table.add_row(*row)
    out.print(table)
