"""Train a released model again, from what its manifest says."""

from __future__ import annotations

import dataclasses
import importlib
import re
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from service.errors import GlasslineError
from service.manifest import Manifest, Precision
from service.store import ModelStore, StoredModel
from training.options import Options, WrongOption
from training.policy_options import PolicyOptions

#: A script stands in this folder and has a dataclass `Config` and a function `main`.
SCRIPT = re.compile(r"training/([a-z][a-z0-9_]*)\.py")
#: Options that say where files are and not what is learnt: as if they had not been given.
PLACES = {"checkpoint": "", "resume": "", "log": "none"}


@dataclass(frozen=True, slots=True)
class Again:
    """A model that was trained again.

    Attributes:
        stored: what was released.
        weights: digests of the weights, lower-case hex: as recorded, and now.
        data: the same of the data, or what was recorded in their place.
    """

    stored: StoredModel
    weights: tuple[str, str]
    data: tuple[str, str]

    @property
    def same(self) -> bool:
        """Whether it is the very same network."""
        return self.weights[0] == self.weights[1]


def train_again(
    manifest: Manifest, store: ModelStore, console: Console, precision: Precision | None = None
) -> Again:
    """Run its script with its configuration, and release the next version of its name.

    Args:
        manifest: of a released model.
        store: where the new version goes.
        console: for progress.
        precision: that the new graph computes in; None = as recorded.

    Raises:
        WrongOption: its manifest names no script or configuration of this Glassline.
        GlasslineError: as the script itself.
    """
    script, config = configured(manifest, precision)
    stored = script.main(config, store, console)
    made, now = manifest.provenance, stored.manifest.provenance
    return Again(
        stored,
        (_digest(made.environment, "weights_sha256"), _digest(now.environment, "weights_sha256")),
        (_digest(made.data, "sha256"), _digest(now.data, "sha256")),
    )


def configured(manifest: Manifest, precision: Precision | None = None) -> tuple[Any, Any]:
    """The script's module, and its configuration as it was.

    Raises:
        WrongOption: see `train_again`.
    """
    where, made = f"--from-manifest: {manifest.reference}", manifest.provenance
    named = SCRIPT.fullmatch(made.script)
    script = None
    if named is not None:
        try:
            script = importlib.import_module(f"training.{named[1]}")
        except ModuleNotFoundError:
            pass
    if script is None or not (hasattr(script, "Config") and hasattr(script, "main")):
        raise WrongOption(
            f"{where} was made by {made.script!r}, which is no training script of this Glassline. "
            f"Train it with the revision that it was made with, {made.git_revision}."
        )
    known = {one.name for one in dataclasses.fields(script.Config)}
    unknown = sorted(set(made.config) - known)
    try:
        config = TypeAdapter(script.Config).validate_python(made.config)
    except (ValidationError, GlasslineError) as error:
        raise WrongOption(
            f"{where}: its configuration is none of this Glassline: {error}"
        ) from None
    if unknown:
        raise WrongOption(f"{where}: its configuration has {unknown}, which nobody knows here.")
    options = getattr(config, "options", None)
    if isinstance(options, Options | PolicyOptions):
        held = {one.name for one in dataclasses.fields(options)}
        places: Any = {name: value for name, value in PLACES.items() if name in held}
        config = dataclasses.replace(config, options=dataclasses.replace(options, **places))
    if precision is not None:
        if "precision" not in known:
            raise WrongOption(f"{where}: {made.script} releases in FP32 alone. Leave --to out.")
        config = dataclasses.replace(config, precision=precision)
    return script, config


def _digest(recorded: Any, name: str) -> str:
    return str(recorded.get(name, "not recorded"))
