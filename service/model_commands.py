"""`glassline models`: what is released, its figures, its names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service import revision_commands
from service import settings as configuration
from service.errors import GlasslineError
from service.revision_commands import ModelArgument

out = Console()
err = Console(stderr=True)
app = typer.Typer(help="Released models in the local store.", no_args_is_help=True)
_MEDIA_TYPES = {".png": "image/png", ".html": "text/html"}


@app.command("list")
def models_list() -> None:
    """Models and versions in GLASSLINE_HOME, with their measured figures."""
    from service.store import ModelStore

    store = ModelStore(configuration.load().root)
    table = Table("model", "version", "family", "task", "measured", "digest")
    for name, version in store.list():
        try:
            manifest = store.get(name, version).manifest
        except GlasslineError as error:
            table.add_row(name, version, "", "", f"[red]refused[/red]: {error}", "")
            continue
        measured = ", ".join(f"{k} {v:.4g}" for k, v in manifest.metrics.items())
        table.add_row(name, version, manifest.family, manifest.task, measured, manifest.digest[:12])
    if not table.rows:
        fail("no models yet. Train one: glassline train cnn --arch lenet5 --data digits")
    out.print(table)


@app.command("page")
def models_page(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write: .html, or .png (figures alone)."),
    ] = None,
) -> None:
    """Write what was measured when a model was released, as a page to read.

    Accuracy with its interval, class by class, calibration, and the worst mistakes explained.

    [dim]glassline models page lenet-digits -o lenet.html[/dim]
    """
    from service.model_page import model_page
    from service.store import ModelStore

    name, _, version = model.partition("@")
    stored = ModelStore(configuration.load().root).get(name, version or None)
    output = output or Path(f"{name}-{stored.manifest.version}.html")
    media_type = _MEDIA_TYPES.get(output.suffix.lower())
    if media_type not in ("text/html", "image/png"):
        fail(f"{output}: wanted a name that ends in .html or .png.")
    output.write_bytes(model_page(stored, media_type))
    out.print(f"wrote {output}", soft_wrap=True)


@app.command("alias")
def models_alias(
    name: Annotated[str, typer.Argument(help="Model name.")],
    alias: Annotated[str, typer.Argument(help="A word such as stable.")],
    version: Annotated[str, typer.Argument(help="The version that it means from now on.")],
) -> None:
    """Let a word mean a version: ask for /v2/models/NAME/versions/stable/infer."""
    from service.inference.repository import Repository
    from service.store import ModelStore

    root = configuration.load().root
    Repository(root, ModelStore(root)).alias(name, alias, version)
    out.print(f"{name}: {alias} means version {version}; running servers follow within a second")


revision_commands.add_to(app)


def fail(message: str) -> NoReturn:
    """End with a message and exit code 1."""
    err.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True, highlight=False)
    raise typer.Exit(1)
