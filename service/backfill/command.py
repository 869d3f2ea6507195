"""`glassline replay`: what a budget, or a version of a model, would have alarmed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service import settings as configuration
from service.anomaly.stream_config import StreamConfig
from service.errors import InvalidParameter

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
        str | None, typer.Option(help="Column of the times; time, timestamp, datetime or date.")
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
    sensors: tuple[str, ...] = ()
    with _progress() as progress:
        for name, allowed in asked:
            base, _, version = name.partition("@")
            scorer = Scorer(registry.get(base, version or None))
            sensors = sensors or scorer.subject.sensors
            recording = read(file, scorer.subject.sensors, time)
            config = StreamConfig.parse({**_budget(allowed), **_set(more)}, "replay")
            label = f"{scorer.model.manifest.reference}, {allowed}"
            task = progress.add_task(label, total=len(recording.times))
            runs.append(
                replayed(
                    scorer, recording, config, stream, label,
                    lambda rows, t=task: progress.advance(t, rows),  # type: ignore[misc]
                )
            )  # fmt: skip
    _tell(runs)
    if recording.left_out:
        err.print(f"columns left out: {', '.join(recording.left_out)}", highlight=False)
    if log is not None:
        log.write_bytes(runs[0].log())
        out.print(f"wrote {log}", soft_wrap=True)
    if output is not None:
        picture = draw(recording, sensors, runs)
        if output.suffix.lower() == ".png":
            output.write_bytes(picture)
        else:
            output.write_text(page(recording, picture, runs, _headline(runs)))
        out.print(f"wrote {output}", soft_wrap=True)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=err, transient=True,
    )  # fmt: skip


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


def _set(pairs: Sequence[str] | None) -> dict[str, Any]:
    import orjson

    values: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise InvalidParameter(f"--set: got '{pair}', wanted name=value, as on_delay_s=3.")
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


def _tell(runs: Sequence[Any]) -> None:
    """Alarm log and load, on standard output."""
    from service.backfill.page import comparison

    for run in runs:
        table = Table(title=run.label)
        for name in ("time", "what", "alarm", "score", "p-value"):
            table.add_column(name, no_wrap=True)
        table.add_column("sensors")
        for event, line in run.events:
            said = ", ".join(
                f"{c['sensor']} {100 * c['share']:.0f} %" for c in line.get("contributors", ())
            )
            score, p_value = ("", "") if event.reading is None else (
                f"{event.reading.score:.4g}", f"{event.reading.p_value:.2g}")  # fmt: skip
            table.add_row(line["time"], event.change, str(event.number), score, p_value, said)
        if run.events:
            out.print(table)
    grid = comparison(runs)
    table = Table(*grid.header)
    for row in grid.rows:
        table.add_row(*row)
    out.print(table)
