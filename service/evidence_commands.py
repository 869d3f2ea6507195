"""The commands of `glassline audit` that write evidence, and the one that verifies it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service import settings as configuration
from service.audit_commands import ApiKey, RecordId, Url, client, download, err, fail, out

if TYPE_CHECKING:
    from service.audit.store import RecordStore

app = typer.Typer()
_REPORTS = {".html": "html", ".pdf": "pdf"}


@app.command()
def report(
    record_id: RecordId,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write: .pdf or .html.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write all that is known of a record into a file that can be read and filed.

    [dim]glassline audit report 01890a5d-ac96-774b-bcce-b302099a8057 -o report.pdf[/dim]
    """
    output = output or Path(f"report-{record_id[:64]}.pdf")
    wanted = _REPORTS.get(output.suffix.lower())
    if wanted is None:
        fail(f"{output}: wanted a name that ends in .pdf or .html.")
    with client(url, api_key) as http:
        download(http, f"/audit/records/{record_id}/report", {"format": wanted}, output)


@app.command()
def bundle(
    record_id: RecordId,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write: a .zip.")
    ] = None,
    withhold: Annotated[
        bool,
        typer.Option("--withhold-payloads", help="For somebody who may not see the input."),
    ] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write the evidence of a record into a zip that verifies itself.

    [dim]glassline audit bundle 01890a5d-ac96-774b-bcce-b302099a8057 -o evidence.zip[/dim]
    """
    output = output or Path(f"evidence-{record_id[:64]}.zip")
    asked = {"payloads": "withheld" if withhold else "included"}
    with client(url, api_key) as http:
        download(http, f"/audit/records/{record_id}/bundle", asked, output)
    out.print(f"verify it: glassline audit verify {output}", soft_wrap=True, highlight=False)


@app.command()
def checkpoint(
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to keep it; shown if not given.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Fetch the log's newest signed checkpoint; whoever keeps one notices a log that forks.

    [dim]glassline audit checkpoint -o seen && glassline audit verify later.zip --seen seen[/dim]
    """
    with client(url, api_key) as http:
        note = http.checkpoint()
    if output is None:
        out.print(note, end="", soft_wrap=True, highlight=False, markup=False)
        return
    try:
        output.write_text(note)
    except OSError as error:
        fail(f"{output}: cannot be written ({error.strerror}).")
    out.print(f"wrote {output}", soft_wrap=True, highlight=False)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
) -> None:
    """Write the whole log of this machine's record store into a folder that verifies itself.

    Payloads stay where they are. A server may run meanwhile.

    [dim]glassline audit export archive/2026-11 && glassline audit verify archive/2026-11[/dim]
    """
    from service.audit.checkpoint import Checkpoint
    from service.audit.log import AuditLog
    from service.audit.log_export import export_log

    store = _record_store()
    try:
        log = AuditLog(store)
        note = log.checkpoint()
        size = Checkpoint.parse(note.text).size
        earlier = [one for one in log.vouched() if Checkpoint.parse(one.text).size < size]
        with _progress() as bar:
            leaves = bar.track(log.leaves(size), total=size)
            export_log(folder, leaves, note, log.keys(), earlier)
    finally:
        store.close()
    out.print(f"wrote {folder}: {size} records", soft_wrap=True, highlight=False)
    out.print(f"verify it: glassline audit verify {folder}", soft_wrap=True, highlight=False)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A bundle, zip or unpacked, or an exported log.")],
    key: Annotated[
        list[str] | None, typer.Option(help="Key id, or verifier key, that must have signed.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="The operator's key set, got elsewhere than from here.")
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="Verifier key of one who must have cosigned.")
    ] = None,
    seen: Annotated[Path | None, typer.Option(help="A checkpoint that you kept.")] = None,
    consistency: Annotated[
        Path | None, typer.Option(help="The consistency proof from it, JSON with 'path'.")
    ] = None,
    signatures: Annotated[
        str, typer.Option(help="Of an exported log: records' signatures to check, N or all.")
    ] = "0",
    openssl: Annotated[str, typer.Option(help="The openssl command, 3.0 or newer.")] = "openssl",
) -> None:
    """Verify a bundle or an exported log; no server is asked.

    It runs the script that is in every bundle. Exit code 0: it holds; 1: something is not as it
    was; 2: it could not look.

    [dim]glassline audit verify evidence.zip --key 24754e42c4...[/dim]
    """
    from service.audit import verify as verifier

    given = [str(path), "--signatures", signatures, "--openssl", openssl]
    for name, values in (("--key", key), ("--witness", witness)):
        given += [word for value in values or () for word in (name, value)]
    for name, file in (("--keys", keys), ("--seen", seen), ("--consistency", consistency)):
        given += [name, str(file)] if file is not None else []
    raise typer.Exit(verifier.main(given))


def _progress() -> Progress:
    columns = (TextColumn("exporting"), BarColumn(), MofNCompleteColumn(), TextColumn("records"))
    return Progress(*columns, console=err, disable=not err.is_terminal, transient=True)


def _record_store() -> RecordStore:
    from sqlalchemy import make_url

    from service.audit.store import RecordStore

    database = configuration.load().database
    if database.startswith("sqlite"):
        file = make_url(database).database
        if file and not Path(file).is_file():
            fail(f"export: there are no records at {file}; is GLASSLINE_HOME the server's?")
    return RecordStore(database)
