"""`glassline audit`: what was recorded, found, read, done again, reviewed and proved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from service import settings as configuration
from service.audit_client import AuditClient, replayable

out = Console()
err = Console(stderr=True)
#: Letters of a record's id, of a line with room for all columns, and of one that nothing cuts off.
_ID, _ROOM, _PIPED = 36, 150, 240
app = typer.Typer(help="What was recorded, and the proof of it.", no_args_is_help=True)

ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="GLASSLINE_API_KEY", help="If the server wants one."),
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="Server to ask; http://127.0.0.1:$GLASSLINE_PORT if not given."),
]
RecordId = Annotated[str, typer.Argument(help="Id of a record.")]
Since = Annotated[str | None, typer.Option(help="At or after, such as 2026-03-01T08:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Before.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Model name.")]
Version = Annotated[str | None, typer.Option(help="Model version.")]
#: What a table in a terminal shows of a record.
_NARROW = ("created_at", "kind", "decision", "id")
_SHOWN = ("created_at", "kind", "model", "version", "decision", "score", "caller", "review", "id")
_FORMATS = {".csv": "csv", ".parquet": "parquet"}


@app.command()
def search(
    since: Since = None,
    until: Until = None,
    kind: Annotated[
        str | None, typer.Option(help="prediction, explanation, review, override, replay, ...")
    ] = None,
    model: Model = None,
    version: Version = None,
    decision: Annotated[str | None, typer.Option(help="The class that was decided.")] = None,
    score_min: Annotated[float | None, typer.Option(help="At least.")] = None,
    score_max: Annotated[float | None, typer.Option(help="At most.")] = None,
    caller: Annotated[str | None, typer.Option(help="Name of the API key that asked.")] = None,
    review: Annotated[
        str | None, typer.Option(help="none, review, override or correction beside it.")
    ] = None,
    about: Annotated[str | None, typer.Option(help="The record that it is about.")] = None,
    order: Annotated[str, typer.Option(help="newest or oldest first.")] = "newest",
    limit: Annotated[int, typer.Option(min=1, help="Records to show.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write all that is found: records.csv or .parquet."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All that is found, as JSON.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Find records, and show them or write them into a file.

    [dim]glassline audit search --model lenet-digits --decision 7 --since 2026-03-01T00:00:00Z[/dim]

    [dim]glassline audit search --review none --score-max 0.6 --out to-review.csv[/dim]
    """
    filters = {
        "since": since, "until": until, "kind": kind, "model": model, "version": version,
        "decision": decision, "score_min": score_min, "score_max": score_max, "caller": caller,
        "review": review, "about": about, "order": order,
    }  # fmt: skip
    with client(url, api_key) as http:
        if output is not None:
            _write_search(http, filters, output)
        elif as_json:
            out.print_json(json.dumps(list(http.find(filters))))
        else:
            _show(list(http.find(filters, limit + 1)), limit)


def _write_search(http: AuditClient, filters: dict[str, Any], output: Path) -> None:
    wanted = _FORMATS.get(output.suffix.lower())
    if wanted is None:
        fail(f"{output}: wanted a name that ends in .csv or .parquet.")
    download(http, "/audit/records", {**filters, "format": wanted}, output)


def _show(found: list[dict[str, Any]], limit: int) -> None:
    wide = out if out.is_terminal else Console(width=_PIPED)
    shown = _SHOWN if wide.width >= _ROOM else _NARROW
    table = Table(*shown[:-1])
    table.add_column("id", no_wrap=True, min_width=_ID)  # it is there to be copied
    for record in found[:limit]:
        cells = ["" if record[name] is None else str(record[name]) for name in shown]
        if shown is _NARROW:
            cells[0] = cells[0][:16].replace("T", " ")  # to the minute
        table.add_row(*map(escape, cells))
    wide.print(table)
    if len(found) > limit:
        out.print("there are more: raise --limit, or write all with --out records.csv")


@app.command()
def show(record_id: RecordId, url: Url = None, api_key: ApiKey = None) -> None:
    """Show what was recorded under an id, and what was put beside it since."""
    with client(url, api_key) as http:
        out.print_json(json.dumps(http.record(record_id)))


@app.command()
def replay(
    record_id: Annotated[str | None, typer.Argument(help="Id of a record.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Each prediction and explanation there is.")
    ] = False,
    since: Since = None,
    kind: Annotated[
        str | None, typer.Option(help="With --all or --since: prediction or explanation alone.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Do again what was recorded, and say whether the same comes out.

    Exit code 1 where anything differs or cannot be replayed. Each replay is itself recorded.

    [dim]glassline audit replay 01890a5d-ac96-774b-bcce-b302099a8057[/dim]

    [dim]glassline audit replay --since 2026-03-01T00:00:00Z --kind explanation[/dim]
    """
    many = everything or since is not None
    if many == (record_id is not None):
        fail("replay: wanted the id of a record, or --all, or --since.")
    with client(url, api_key) as http:
        if record_id is not None:
            said = http.replay(record_id)
            out.print_json(json.dumps(said))
            raise typer.Exit(0 if said["verdict"] in _SOUND else 1)
        found = http.find({"since": since, "kind": kind, "order": "oldest"})
        raise typer.Exit(_replay_all(http, [one for one in found if replayable(one)]))


_SOUND = ("bit-exact", "within tolerance")


def _replay_all(http: AuditClient, found: list[dict[str, Any]]) -> int:
    from service.client import ClientError

    counts: dict[str, int] = {}
    with _progress("replaying", "records") as bar:
        task = bar.add_task("", total=len(found))
        for record in found:
            try:
                said = http.replay(record["id"])
                verdict, why = said["verdict"], said["reason"]
            except ClientError as error:
                verdict, why = "not replayable", str(error)
            counts[verdict] = counts.get(verdict, 0) + 1
            if verdict not in _SOUND:
                bar.print(f"{record['kind']} {record['id']}: {verdict}: {escape(why or '')}")
            bar.advance(task)
    table = Table("verdict", "records")
    for verdict, count in sorted(counts.items()):
        table.add_row(verdict, str(count))
    out.print(table if found else "nothing to replay")
    return 0 if set(counts) <= set(_SOUND) else 1


@app.command()
def review(
    record_id: RecordId,
    person: Annotated[str, typer.Option(help="Who signs; a person's name, not the key's.")],
    meaning: Annotated[
        str, typer.Option(help="What the signature means: reviewed, released, rejected, ...")
    ],
    comment: Annotated[str, typer.Option(help="Why; wanted with --override, --correction.")] = "",
    override: Annotated[
        str | None, typer.Option(help="Another verdict; the model's own stays beside it.")
    ] = None,
    correction: Annotated[
        str | None, typer.Option(help='How the record should read, as JSON: \'{"part": "A7"}\'.')
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Sign a record off, give another verdict, or correct it; the record stays as it is.

    [dim]glassline audit review ID --person "Ada Lovelace" --meaning "reviewed and released"[/dim]

    [dim]glassline audit review ID --person "Ada Lovelace" --meaning rejected --override bad
    --comment "a scratch behind the reflection"[/dim]
    """
    if override is not None and correction is not None:
        fail("review: --override and --correction are two records; put them one after the other.")
    said: dict[str, Any] = {"person": person, "meaning": meaning, "comment": comment}
    if override is not None:
        said |= {"kind": "override", "decision": override}
    elif correction is not None:
        said |= {"kind": "correction", "correction": _json(correction)}
    else:
        said["kind"] = "review"
    with client(url, api_key) as http:
        answer = http.review(record_id, said)
    out.print(f"{answer['kind']} {answer['review_id']}", soft_wrap=True)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        fail(f'--correction: no JSON ({error}); wanted for example \'{{"part": "A7"}}\'.')


def download(http: AuditClient, path: str, params: dict[str, Any], target: Path) -> None:
    """Fetch a file with a bar of the bytes that came, and say that it is there."""
    with _progress("fetching", None) as bar:
        task = bar.add_task("", total=None)
        http.download(path, params, target, lambda size: bar.advance(task, size))
    out.print(f"wrote {target}", soft_wrap=True, highlight=False)


def _progress(doing: str, things: str | None) -> Progress:
    amount = (MofNCompleteColumn(), TextColumn(things)) if things else (DownloadColumn(),)
    columns = (TextColumn(doing), BarColumn(), *amount)
    return Progress(*columns, console=err, disable=not err.is_terminal, transient=True)


def client(url: str | None, api_key: str | None) -> AuditClient:
    """The client of the server that is meant."""
    return AuditClient(url or f"http://127.0.0.1:{configuration.load().port}", api_key)


def fail(message: str) -> NoReturn:
    """One message and exit code 1."""
    err.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1)
