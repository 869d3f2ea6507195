"""`glassline train --from-manifest`: train a released model again."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from service import settings as configuration
from service.store import ModelStore
from training.commands import app, one_message, out, report, told_patience
from training.options import WrongOption


class To(StrEnum):
    """What the new version computes in."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


FromManifest = Annotated[
    str,
    typer.Option(
        "--from-manifest",
        help="NAME or NAME@VERSION: train it again as its manifest says, release the next version, "
        "and say whether the weights are the same.",
        show_default=False,
    ),
]
ToOption = Annotated[
    To | None,
    typer.Option("--to", help="With --from-manifest: compress it, as the same model's version."),
]


@app.callback(invoke_without_command=True)
def again(context: typer.Context, from_manifest: FromManifest = "", to: ToOption = None) -> None:
    """Options of `glassline train` itself."""
    with one_message():
        if context.invoked_subcommand is not None:
            if from_manifest or to:
                raise WrongOption(
                    "--from-manifest: the manifest says which command it was. Leave "
                    f"'{context.invoked_subcommand}' out."
                )
            return
        if not from_manifest:
            raise WrongOption("--to: wanted --from-manifest NAME@VERSION with it.")
        name, _, version = from_manifest.partition("@")
        store = ModelStore(configuration.load().root)
        manifest = store.get(name, version or None).manifest
        with told_patience():
            from training.again import train_again
        started = time.perf_counter()
        done = train_again(manifest, store, out, to.value if to else None)
        report(done.stored, time.perf_counter() - started)
        _tell(manifest.reference, "weights", done.weights)
        if done.data[0] != done.data[1]:
            _tell(manifest.reference, "data", done.data)


def _tell(reference: str, what: str, digests: tuple[str, str]) -> None:
    before, now = digests
    said = f"the same as {reference}" if before == now else f"NOT those of {reference}: {before}"
    out.print(f"{what} {now}: {said}", markup=False, highlight=False, soft_wrap=True)
