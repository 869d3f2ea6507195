"""`glassline`: serve, ask, explain and look things up from a shell.

Exit codes: 0 done, 1 refused or failed (one message on standard error), 2 wrong usage, 130 stopped
by Ctrl+C where what is done is kept.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service import (
    __version__,
    alarm_commands,
    audit_commands,
    evidence_commands,
    log_commands,
    model_commands,
)
from service import settings as configuration
from service.access import Keyring, Scope
from service.audit_commands import ApiKey, Url, err, fail
from service.backfill.command import replay
from service.bulk.command import Address, Batch, Workers, explain_batch
from service.client import Client, ClientError, media_type_of
from service.connectors import command as bridge
from service.errors import GlasslineError

out = Console()

app = typer.Typer(
    name="glassline",
    help="Serve models whose every answer can be explained and proved.\n\n"
    "Begin with [bold]glassline train cnn[/bold], then [bold]glassline serve[/bold]. "
    "GLASSLINE_HOME says where models and records are (.glassline/), GLASSLINE_PORT where to "
    "listen or ask (3000).",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_app = typer.Typer(help="API keys and what each may do.", no_args_is_help=True)
app.add_typer(model_commands.app, name="models")
app.add_typer(keys_app, name="keys")
app.add_typer(bridge.app, name="bridge")
app.add_typer(alarm_commands.app, name="alarms")
audit_commands.app.add_typer(evidence_commands.app)
app.add_typer(audit_commands.app, name="audit")
log_commands.add_to(audit_commands.app)

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Model name, or name@version. The only one if"
                             " not given.")
]  # fmt: skip
Output = Annotated[
    Path | None, typer.Option("--output", "--out", "-o", help="Where to write: .png, .html or"
                              " .json; explanation.png if not given. With --batch .parquet.")
]  # fmt: skip
_INPUT = typer.Argument(
    help="PNG, JPEG, CSV, text, or v2 JSON request.", exists=True, dir_okay=False
)
_MEDIA_TYPES = {".png": "image/png", ".html": "text/html", ".json": "application/json"}


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"glassline {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Options of every command."""


app.command()(replay)


@app.command()
def serve() -> None:
    """Start the server and say what can be asked of it.

    Settings are environment variables GLASSLINE_*, or a TOML file named by
    GLASSLINE_CONFIG. Stop it with Ctrl+C: requests in flight are finished first.
    """
    from service import launch

    raise typer.Exit(launch.serve(configuration.load(), out))


@app.command()
def predict(
    file: Annotated[Path, _INPUT], model: Model = None, url: Url = None, api_key: ApiKey = None
) -> None:
    """Ask a running server for a prediction.

    [dim]glassline predict digit.png --model lenet-digits[/dim]
    """
    with _client(url, api_key) as client:
        answer = client.infer(client.choose(model), file.read_bytes(), media_type_of(file))
    out.print(_answers(answer["outputs"]))
    out.print(f"{answer['model_name']}@{answer['model_version']}")
    said = answer["parameters"]
    if said.get("deadline_missed"):
        what = "this is the fail-safe" if "fail_safe" in said else "this is its late answer"
        out.print(f"the model had not answered within {said['deadline_ms']:g} ms: {what}")
    out.print(f"record {said['record_id']}", soft_wrap=True)


def _answers(outputs: list[dict[str, Any]]) -> Table:
    """Labels or verdicts where the model has them, else the values of its first output."""
    by_name = {one["name"]: one["data"] for one in outputs}
    if {"label", "confidence"} <= by_name.keys():
        table = Table("row", "label", "confidence")
        pairs = zip(by_name["label"], by_name["confidence"], strict=True)
        for row, (label, confidence) in enumerate(pairs):
            table.add_row(str(row), label, f"{confidence:.4f}")
        return table
    if {"verdict", "score"} <= by_name.keys():
        table = Table("row", "verdict", "score", "threshold", "p-value", "most of the error")
        named = by_name["contributors"][:: len(by_name["contributors"]) // len(by_name["verdict"])]
        columns = [by_name[name] for name in ("score", "threshold", "p_value")]
        for row, (verdict, most, *numbers) in enumerate(
            zip(by_name["verdict"], named, *columns, strict=True)
        ):
            table.add_row(str(row), verdict, *(f"{value:.4g}" for value in numbers), most)
        return table
    first = outputs[0]
    width = len(first["data"]) // first["shape"][0]
    columns = first.get("parameters", {}).get("features") or [
        first["name"] if width == 1 else f"{first['name']} {column}" for column in range(width)
    ]
    table = Table("row", *columns)
    for row in range(first["shape"][0]):
        values = first["data"][row * width : (row + 1) * width]
        table.add_row(str(row), *(v if isinstance(v, str) else f"{v:.6g}" for v in values))
    return table


@app.command()
def explain(
    file: Annotated[Path | None, _INPUT] = None,
    output: Output = None,
    model: Model = None,
    samples: Annotated[int | None, typer.Option(help="Perturbed samples to predict.")] = None,
    features: Annotated[
        int | None, typer.Option(help="Segments, columns or words in the explanation.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Class or value to explain, by name or index.")
    ] = None,
    segmentation: Annotated[
        str | None, typer.Option(help="Pictures: auto, grid, slic, quickshift or felzenszwalb.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the perturbations.")] = 0,
    more: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other parameter, name=value, as often as needed."),
    ] = None,
    batch: Batch = None,
    workers: Workers = None,
    address: Address = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Ask a running server why: a picture, a report or the numbers.

    The file is a picture, a table (.csv) or a text (.txt), as the model takes it.

    [dim]glassline explain digit.png -o why.png --model lenet-digits[/dim]

    [dim]glassline explain parts.csv -o why.html --model parts --set discretizer=decile[/dim]

    [dim]glassline explain --batch parts.parquet --out why.parquet --model parts[/dim]
    """
    asked = {
        "num_samples": samples, "num_features": features, "target": target,
        "segmentation": segmentation, "seed": seed,
    }  # fmt: skip
    parameters = {name: value for name, value in asked.items() if value is not None}
    for pair in more or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            fail(f"--set: got '{pair}', wanted name=value, for example --set repeats=3.")
        parameters[name] = value
    if batch is not None:
        if file or url:
            fail("--batch: no server is asked, and no other file is read. Leave FILE and --url.")
        asked_for = model, parameters, workers, address, configuration.load(), (out, err)
        raise typer.Exit(explain_batch(batch, output, *asked_for))
    if file is None or workers or address:
        fail("wanted a FILE to ask a server about, or --batch with --workers and --address.")
    output = output or Path("explanation.png")
    media_type = _MEDIA_TYPES.get(output.suffix.lower())
    if media_type is None:
        fail(f"{output}: wanted a name that ends in .png, .html or .json.")
    with _client(url, api_key) as client, err.status("explaining ..."):
        chosen = client.choose(model)
        answer = client.explain(chosen, file.read_bytes(), media_type_of(file), parameters)
        body = client.explanation(answer["explanation_id"], media_type)
    output.write_bytes(body)
    out.print(f"wrote {output}", soft_wrap=True)
    out.print(f"explanation {answer['explanation_id']}", soft_wrap=True)
    out.print(f"record {answer['record_id']}", soft_wrap=True)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose key it is; it stands in the records.")],
    scope: Annotated[list[Scope], typer.Option("--scope", "-s", help="What it may do; repeat.")],
) -> None:
    """Make a key and show it, this once.

    [dim]glassline keys create line-7 --scope predict --scope explain[/dim]
    """
    token = Keyring(configuration.load().keys_file).create(name, scope)
    err.print(f"key of '{name}', good for {', '.join(scope)}; it is not shown again:")
    out.print(token, soft_wrap=True, highlight=False)


@keys_app.command("list")
def keys_list() -> None:
    """Names and scopes; the keys themselves are not kept."""
    table = Table("name", "scopes")
    for name, scopes in Keyring(configuration.load().keys_file).list():
        table.add_row(name, ", ".join(scopes))
    out.print(table)


@keys_app.command("revoke")
def keys_revoke(name: Annotated[str, typer.Argument(help="Whose key.")]) -> None:
    """Forget a key; running servers follow within a second."""
    Keyring(configuration.load().keys_file).revoke(name)
    out.print(f"key of '{name}' revoked")


def _client(url: str | None, api_key: str | None) -> Client:
    return Client(url or f"http://127.0.0.1:{configuration.load().port}", api_key)


def _add_contributed(target: typer.Typer) -> None:
    """Add the commands that installed packages contribute, `train` among them."""
    for entry in importlib.metadata.entry_points(group="glassline.commands"):
        try:
            target.add_typer(entry.load(), name=entry.name)
        except ImportError as error:
            target.command(entry.name, help="[dim]not installed[/dim]")(_missing(entry.name, error))


def _missing(name: str, error: ImportError) -> Any:
    def command() -> None:
        fail(f"`glassline {name}` needs a package that is not installed ({error}). "
             "Install it with: pip install 'glassline[train]'")  # fmt: skip

    return command


def main() -> None:
    """Run the command line; errors end as one message and exit code 1."""
    _add_contributed(app)
    try:
        app()
    except (GlasslineError, ClientError) as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None
