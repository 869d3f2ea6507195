"""`glassline explain --batch`: its options, its progress bar, and what it says at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.bulk.cluster import check_installed
from service.errors import InvalidParameter, UnknownModel, UnsupportedMediaType
from service.settings import Settings

if TYPE_CHECKING:
    from service.store import ModelStore, StoredModel

Batch = Annotated[
    Path | None,
    typer.Option(help="Explain every row of this .parquet, .csv or folder of pictures, without a "
                 "server, into --out explanations.parquet; a run that was ended goes on."),
]  # fmt: skip
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="With --batch: processes; as many as Ray has CPUs if not given."),
]
Address = Annotated[
    str | None,
    typer.Option(help="With --batch: host:port of a Ray cluster; this machine if not given."),
]
DEFAULT_OUT = Path("explanations.parquet")


def explain_batch(
    batch: Path,
    out: Path | None,
    model: str | None,
    parameters: Mapping[str, Any],
    workers: int | None,
    address: str | None,
    settings: Settings,
    consoles: tuple[Console, Console],
) -> int:
    """Explain every row of a file; the exit code.

    Args:
        batch: the inputs.
        out: .parquet to write; None = explanations.parquet.
        model: name, name@version, or None for the only one in the store.
        parameters: of the explanations, as the command line has them.
        workers: see `Asked`.
        address: see `Asked`.
        settings: of this process.
        consoles: for results, and for progress and errors.

    Raises:
        GlasslineError: see `explain_all`; also where the extra is not installed.
    """
    check_installed()
    from service.bulk.run import Asked, explain_all
    from service.explain.parameters import parse
    from service.store import ModelStore

    say, progress_on = consoles
    out = out or DEFAULT_OUT
    if out.suffix.lower() != ".parquet":
        raise UnsupportedMediaType(f"{out}: with --batch wanted a name that ends in .parquet.")
    if "row" in parameters:
        raise InvalidParameter("explain parameters: row: with --batch every row is explained.")
    asked = Asked(
        batch, out, _chosen(ModelStore(settings.root), model),
        parse(parameters, settings.explain_max_samples), workers, address,
    )  # fmt: skip
    with _Bar() as bar:
        try:
            done = explain_all(asked, settings, bar.told)
        except KeyboardInterrupt:
            bar.stop()
            progress_on.print(
                f"stopped: what is done is kept in {out}.parts; the same command goes on from "
                "there", soft_wrap=True, highlight=False,
            )  # fmt: skip
            return 130
    if done.found:
        say.print(f"{done.found} of {done.rows} rows were done already", highlight=False)
    made = done.rows - done.found
    rate = f", {made / done.seconds:.2f} rows/s" if made else ""
    say.print(
        f"wrote {out}: {done.rows} rows by {asked.stored.manifest.reference}, {done.failed} failed "
        f"({done.seconds:.1f} s{rate})", soft_wrap=True, highlight=False,
    )  # fmt: skip
    if done.failed:
        progress_on.print(
            f"[red]error:[/red] {done.failed} of {done.rows} rows failed; their column 'error' "
            "says why.", soft_wrap=True, highlight=False,
        )  # fmt: skip
    return 1 if done.failed else 0


def _chosen(store: ModelStore, model: str | None) -> StoredModel:
    """The stored model that is meant.

    Raises:
        UnknownModel: there is none of this name or version, or no name and several models.
    """
    if model is not None:
        name, at, version = model.partition("@")
        return store.get(name, version if at else None)
    names = store.names()
    if len(names) != 1:
        raise UnknownModel(
            f"the store has {len(names)} models ({', '.join(names)}); say which: --model NAME"
        )
    return store.get(names[0])


class _Bar:
    """Rows done of all, how many a second, how long still; nothing where there is no terminal."""

    def __init__(self) -> None:
        # A descriptor of its own: standard error is not the terminal while Ray runs.
        self._file = os.fdopen(os.dup(2), "w")
        console = Console(file=self._file)
        self._progress = Progress(
            TextColumn("explaining"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("[red]{task.fields[failed]}[/red]"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None, rate="", failed="")
        self._found: int | None = None
        self._began = 0.0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Draw no more."""
        if not self._file.closed:
            self._progress.stop()
            self._file.close()

    def told(self, done: int, failed: int, rows: int) -> None:
        """So many rows are done; the first call says how many were before."""
        now = time.monotonic()
        if self._found is None:
            self._found, self._began = done, now
        made, seconds = done - self._found, now - self._began
        rate = f"{made / seconds:.2f} rows/s" if made and seconds else ""
        self._progress.update(
            self._task, completed=done, total=rows, rate=rate,
            failed=f"{failed} failed" if failed else "",
        )  # fmt: skip
