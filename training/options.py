"""The choices that every training script shares: one frozen dataclass, and a `--flag` for each.

Importing this module imports neither torch nor lightning.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from service.errors import GlasslineError

Optimizer = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
BatchMode = Literal["full", "mini", "stochastic"]
Schedule = Literal["constant", "step", "exponential", "cosine", "one-cycle", "plateau"]
Activation = Literal["sigmoid", "tanh", "relu", "leaky-relu"]
Scaling = Literal["none", "minmax01", "minmax11", "standard"]
Device = Literal["cpu", "cuda", "auto"]
Arithmetic = Literal["32", "bf16-mixed", "16-mixed"]
Log = Literal["none", "csv", "tensorboard"]


class WrongOption(GlasslineError):
    """An option's value cannot be used: exit code 2, as for any other wrong usage."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a number must lie: [low, high], or without the ends that are `open`."""

    low: float
    high: float = math.inf
    open: str = ""

    def hold(self, value: float) -> bool:
        # Comparisons with NaN are false.
        above = value > self.low if "low" in self.open else value >= self.low
        below = value < self.high if "high" in self.open else value <= self.high
        return bool(above and below)

    def __str__(self) -> str:
        low = f"more than {self.low:g}" if "low" in self.open else f"at least {self.low:g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'less than' if 'high' in self.open else 'at most'} {self.high:g}"


def _option(
    default: Any, help: str, limits: Limits | None = None, panel: str = "Optimisation"
) -> Any:
    return field(default=default, metadata={"help": help, "limits": limits, "panel": panel})


_POSITIVE = Limits(0, open="low")
_SHARE = Limits(0, 1, open="low high")
_NATURAL = Limits(1)


@dataclass(frozen=True, slots=True)
class Options:
    """How a network is trained; recorded in the manifest. Help and limits stand with each.

    Raises:
        WrongOption: a value is outside its limits, or two do not go together.
    """

    seed: int = _option(
        0, "Of weights and order; same seed, same weights.", Limits(0, 2**32 - 1), "Run"
    )
    epochs: int = _option(100, "Passes over the training part, at most.", _NATURAL)
    batch_mode: BatchMode = _option(
        "mini", "Rows an update: all of them, --batch-size of them, or one."
    )
    batch_size: int = _option(32, "Rows an update of --batch-mode mini.", _NATURAL)
    reshuffle: bool = _option(True, "A new order each epoch; without, the first one again.")
    optimizer: Optimizer = _option("adam", "How weights follow gradients.")
    learning_rate: float = _option(1e-3, "Peak of the schedule.", Limits(0, 1, open="low high"))
    momentum: float = _option(
        0.9, "Share of the last update that is kept; of momentum and nesterov.", _SHARE
    )
    schedule: Schedule = _option("constant", "How the learning rate goes over the epochs.")
    schedule_factor: float = _option(
        0.5, "What it is multiplied by: each time, each epoch (exponential).", _SHARE
    )
    schedule_every: int = _option(
        10, "Epochs between two steps; epochs without progress before one (plateau).", _NATURAL
    )
    warmup: int = _option(
        0, "Epochs over which the learning rate first rises from 0, evenly.", Limits(0)
    )
    l1: float = _option(
        0.0, "Weight of the sum of absolute weights in the loss.", Limits(0), "Regularisation"
    )
    l2: float = _option(
        0.0,
        "Weight of half the sum of squared weights in the loss; of adamw: decoupled decay.",
        Limits(0),
        "Regularisation",
    )
    dropout: float = _option(
        0.0,
        "Share of hidden units that are left out of each update.",
        Limits(0, 1, open="high"),
        "Regularisation",
    )
    patience: int = _option(
        0,
        "Stop after so many epochs without a lower validation loss; 0 = never. The weights of "
        "the best epoch are released either way.",
        Limits(0),
        "Regularisation",
    )
    refit: bool = _option(
        False,
        "Then train again from the start, on the training and the validation part, for as many "
        "epochs as were best.",
        panel="Regularisation",
    )
    clip_norm: float = _option(
        0.0,
        "Longest gradient (L2 norm of all together); longer ones are shortened. 0 = any length.",
        Limits(0),
    )
    activation: Activation = _option("relu", "Of hidden units.", panel="Network")
    scaling: Scaling = _option(
        "standard",
        "Of inputs, fitted on the training part and put inside the graph: to [0, 1], to [-1, 1], "
        "or to mean 0 and deviation 1.",
        panel="Network",
    )
    class_weights: str = _option(
        "none",
        "What a mistake costs by class: none, balanced (rare classes cost more), or "
        "LABEL=WEIGHT,LABEL=WEIGHT.",
        panel="Regularisation",
    )
    device: Device = _option(
        "auto", "auto takes CUDA where it is; cuda refuses to do without.", panel="Run"
    )
    devices: int = _option(
        1, "GPUs that train together (DDP), or processes on a CPU.", _NATURAL, "Run"
    )
    arithmetic: Arithmetic = _option(
        "32", "What training computes in; weights stay in FP32.", panel="Run"
    )
    checkpoint: str = _option(
        "", "File that the state is written to after each epoch; none = not kept.", panel="Run"
    )
    resume: str = _option(
        "", "Checkpoint to go on from, as if training had not stopped.", panel="Run"
    )
    log: Log = _option("none", "Losses of every epoch, written to --log-folder.", panel="Run")
    log_folder: str = _option("logs", "Where --log writes.", panel="Run")

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):
            limits, value = one.metadata["limits"], getattr(self, one.name)
            if limits is not None and not limits.hold(value):
                raise WrongOption(f"{flag_of(one.name)}: got {value:g}, wanted {limits}.")
        hints = get_type_hints(type(self))
        for one in dataclasses.fields(self):
            known, value = get_args(hints[one.name]), getattr(self, one.name)
            if get_origin(hints[one.name]) is Literal and value not in known:
                raise WrongOption(
                    f"{flag_of(one.name)}: got {value!r}, wanted one of {', '.join(known)}."
                )
        if self.warmup and self.schedule in ("one-cycle", "plateau"):
            raise WrongOption(
                f"--warmup: got {self.warmup} with --schedule {self.schedule}, which has its own "
                "beginning. Leave --warmup out, or take another schedule."
            )
        if self.warmup >= self.epochs:
            raise WrongOption(
                f"--warmup: got {self.warmup}, wanted less than the {self.epochs} epochs."
            )


#: What `glassline train cnn` uses where nothing else is said.
CNN = Options(
    epochs=40, batch_size=64, optimizer="adamw", learning_rate=3e-3, l2=0.01, schedule="one-cycle"
)
#: The same of `glassline train gan`.
GAN = Options(epochs=120, batch_size=32, learning_rate=2e-4)
#: The same of `glassline train mlp`.
MLP = Options(epochs=200, patience=30)
#: The same of `glassline train seq2seq`.
SEQ2SEQ = Options(
    epochs=25, batch_size=128, optimizer="adam", learning_rate=5e-3, schedule="one-cycle",
    dropout=0.1, clip_norm=1.0,
)  # fmt: skip
#: The same of `glassline train recurrent`, for series and for texts.
RECURRENT = Options(
    epochs=60, batch_size=32, optimizer="adamw", learning_rate=5e-3, l2=0.001, dropout=0.3,
    schedule="one-cycle", clip_norm=1.0,
)  # fmt: skip
#: The same of `glassline train autoencoder`.
AUTOENCODER = Options(
    epochs=100, batch_size=32, optimizer="adamw", learning_rate=3e-3, l2=0.001, schedule="one-cycle"
)


def flag_of(name: str) -> str:
    """The flag of an option: `batch_size` is `--batch-size`."""
    return "--" + name.replace("_", "-")


def taking(
    defaults: Options, without: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take every option as a flag; it gets them together, as `options`.

    Args:
        defaults: of this command.
        without: options that mean nothing to it; they keep their defaults.
    """
    hints = get_type_hints(Options)
    offered = [one for one in dataclasses.fields(Options) if one.name not in without]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.name != "options"]

        @functools.wraps(command)
        def taken(**values: Any) -> None:
            chosen = {one.name: _plain(values.pop(one.name)) for one in offered}
            command(**values, options=lambda: dataclasses.replace(defaults, **chosen))

        shared = [
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(one.name, hints[one.name], getattr(defaults, one.name)),
                annotation=Annotated[
                    _typed(one.name, hints[one.name]),
                    typer.Option(help=one.metadata["help"], rich_help_panel=one.metadata["panel"]),
                ],
            )
            for one in offered
        ]
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        taken.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        taken.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
        return taken

    return decorate


@functools.cache
def _choice(name: str, words: tuple[str, ...]) -> type[StrEnum]:
    return StrEnum(name, {word: word for word in words})  # type: ignore[return-value]


def _typed(name: str, hint: Any) -> Any:
    """A type that every version of typer offers as a choice."""
    return _choice(name, get_args(hint)) if get_origin(hint) is Literal else hint


def _default(name: str, hint: Any, value: Any) -> Any:
    return _typed(name, hint)(value) if get_origin(hint) is Literal else value


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
