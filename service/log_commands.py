"""`glassline audit keys`, `witness`, `erase`: who keeps the log, who watches it."""

from __future__ import annotations

import getpass
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from service import settings as configuration
from service.audit_commands import ApiKey, RecordId, Url, client, err, out
from service.client import ClientError

if TYPE_CHECKING:  # SQLAlchemy and cryptography take half a second, and only these need them
    from service.audit.key_changes import KeyChanges
    from service.audit.keyset import KeySet

keys_app = typer.Typer(
    help="Keys that sign this home's log, and who cosigns it. Runs where the server's home is.",
    no_args_is_help=True,
)
Reason = Annotated[str, typer.Option(help="Why; those who read the key set see it.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to `glassline audit`."""
    app.add_typer(keys_app, name="keys")
    app.command()(witness)
    app.command()(erase)


@keys_app.command("show")
def keys_show() -> None:
    """Show the log's keys, up to which record each counts, and its witnesses.

    [dim]glassline audit keys show[/dim]
    """
    from service.audit.log import AuditLog
    from service.audit.store import RecordStore

    store = RecordStore(configuration.load().database)
    keys = AuditLog(store).keys()
    store.close()
    _show(keys)


@keys_app.command("rotate")
def keys_rotate() -> None:
    """Sign with a new key from the next record on; old records stay proved by the old one.

    The new key is made under `keys/` in the home, or is the one that the operator has put into
    GLASSLINE_SIGNING_KEY_FILE meanwhile. Running servers follow with their next record.

    [dim]glassline audit keys rotate[/dim]
    """
    _show(_changes().rotate())


@keys_app.command("revoke")
def keys_revoke(
    keyid: Annotated[str, typer.Argument(help="The key's id, its first 8 digits or more.")],
    reason: Reason,
    since: Annotated[
        int | None,
        typer.Option(help="Place of the first record that it is not believed on; all are if not"
                     " given."),
    ] = None,
) -> None:  # fmt: skip
    """Believe a key no more, because somebody else may have it.

    Records before that place stay proved by it. Its checkpoints count no more: whoever has it can
    sign any number of them.

    [dim]glassline audit keys revoke 3f29ab01 --reason "laptop stolen" --since 120000[/dim]
    """
    _show(_changes().revoke(keyid, since, reason))


@keys_app.command("trust")
def keys_trust(
    vkey: Annotated[str, typer.Argument(help="The witness's verifier key, as it prints it.")],
) -> None:
    """Take cosignatures of a witness, and hand them out with the evidence.

    [dim]glassline audit keys trust witness.example/w1+1a2b3c4d+BM...[/dim]
    """
    _show(_changes().trust(vkey))


def _changes() -> KeyChanges:
    from service.audit.key_changes import KeyChanges
    from service.audit.keyholder import Keyholder
    from service.audit.log_writer import LogWriter

    settings = configuration.load()
    return KeyChanges(LogWriter.of(settings), Keyholder.of(settings), getpass.getuser())


def _show(keys: KeySet) -> None:
    from service.audit.keys import LOG_TYPE, WITNESS_TYPE

    table = Table("key", "status", "since", "counts for", "reason", title=keys.origin)
    for key in keys.keys:
        reach = "all records" if key.until_size is None else f"records below {key.until_size}"
        table.add_row(key.keyid[:16], key.status, key.created_at, reach, escape(key.reason or ""))
    out.print(table)
    active = [key.keyid for key in keys.keys if key.status == "active"]
    if active:
        out.print(f"active key: {active[0]}", soft_wrap=True, highlight=False)
        out.print(f"verifier key: {keys.active().vkey(LOG_TYPE)}", soft_wrap=True, highlight=False)
    for witness in keys.witnesses:
        out.print(f"witness: {witness.vkey(WITNESS_TYPE)}", soft_wrap=True, highlight=False)


def witness(
    server: Annotated[str, typer.Argument(help="Address of the server: http://host:3000.")],
    name: Annotated[
        str, typer.Option(help="Of a new witness: a URL without its scheme, of yours.")
    ] = "",
    folder: Annotated[
        Path, typer.Option("--state", help="Its key and its memory; one for each log.")
    ] = Path("glassline-witness"),
    key: Annotated[
        str | None, typer.Option(help="Id of the log's key, as its operator publishes it.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    every: Annotated[float, typer.Option(min=1.0, help="Seconds between two looks.")] = 60.0,
    api_key: ApiKey = None,
) -> None:
    """Watch a log from outside: cosign its checkpoint as long as it only ever grows.

    Anybody may run this, best on a machine that the log's operator has no hand in. At its first
    look it prints its verifier key; the operator names it with `glassline audit keys trust`. A log
    that was rewritten or has shrunk is not cosigned: both checkpoints are kept, exit code 1.

    [dim]glassline audit witness http://plant:3000 --name auditor.example/w1 --state w1 --once[/dim]
    """
    from service.audit.witness import Fork, Witness
    from service.log_client import LogClient

    watching = Witness(folder, name or f"{socket.gethostname()}/glassline-witness", key)
    out.print(f"verifier key: {watching.vkey}", soft_wrap=True, highlight=False)
    with LogClient(server, api_key) as http:
        while True:
            try:
                seen = watching.look(http)
            except Fork:
                raise
            except ClientError as error:
                if once:
                    raise
                err.print(f"[yellow]not seen:[/yellow] {escape(str(error))}", soft_wrap=True)
            else:
                grown = "" if seen.before is None else f", {seen.size - seen.before} more"
                out.print(f"cosigned {seen.size} records{grown}", highlight=False)
            if once:
                return
            time.sleep(every)


def erase(
    record_id: RecordId,
    reason: Reason,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Erase the inputs and artifacts of a record; the record stays, and says so.

    [dim]glassline audit erase ID --reason "request of the person shown"[/dim]
    """
    with client(url, api_key) as http:
        said = http.erase(record_id, reason)
    out.print(f"erased: {', '.join(said['erased'])}; record {said['erasure_id']}", soft_wrap=True)
