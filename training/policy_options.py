"""The choices of `glassline train policy`: one frozen dataclass, a flag for each, and recipes.

Importing this module imports neither torch nor stable-baselines3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from training.options import Limits, WrongOption, flag_of

Algorithm = Literal["ppo", "dqn"]
Schedule = Literal["constant", "linear"]
Activation = Literal["tanh", "relu"]
_POSITIVE, _SHARE = Limits(0, open="low"), Limits(0, 1)
_NATURAL = Limits(1)


def _option(
    default: Any, help: str, limits: Limits | None = None, panel: str = "Both algorithms"
) -> Any:
    return dataclasses.field(
        default=default, metadata={"help": help, "limits": limits, "panel": panel}
    )


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """How a policy is learnt; recorded in the manifest. Help and limits stand with each.

    Raises:
        WrongOption: a value is outside its limits, or two do not go together.
    """

    seed: int = _option(0, "Of weights, environments and samples.", Limits(0, 2**31 - 1), "Run")
    steps: int = _option(100_000, "Steps of the environments to learn from.", _NATURAL)
    envs: int = _option(8, "Environments that are stepped together.", Limits(1, 1024))
    learning_rate: float = _option(3e-4, "At the beginning.", Limits(0, 1, open="low high"))
    schedule: Schedule = _option("constant", "linear: the learning rate falls to 0.")
    gamma: float = _option(0.99, "What a reward is worth one step later.", Limits(0, 1, open="low"))
    batch_size: int = _option(64, "Steps an update of the weights.", Limits(2))
    hidden: str = _option("64,64", "Units of the hidden layers, from the input on.")
    activation: Activation = _option("tanh", "Of hidden units.")
    normalise: bool = _option(
        False, "Observations by their running mean and deviation, inside the graph as well."
    )
    rollout: int = _option(128, "Steps of each environment between updates.", Limits(2), "PPO")
    epochs: int = _option(10, "Passes over them.", _NATURAL, "PPO")
    gae_lambda: float = _option(0.95, "Of generalised advantages.", _SHARE, "PPO")
    entropy: float = _option(0.0, "Weight of the entropy in the loss.", Limits(0), "PPO")
    clip: float = _option(0.2, "Furthest that a probability's ratio pulls.", _POSITIVE, "PPO")
    buffer: int = _option(100_000, "Steps that are remembered.", _NATURAL, "DQN")
    warmup: int = _option(1000, "Steps before the first update.", Limits(0), "DQN")
    train_every: int = _option(4, "Steps of all environments between updates.", _NATURAL, "DQN")
    updates: int = _option(1, "Updates each time.", _NATURAL, "DQN")
    target_every: int = _option(1000, "Steps between copies to the target.", _NATURAL, "DQN")
    exploration: float = _option(
        0.1, "Share of the steps over which random actions become rare.", _SHARE, "DQN"
    )
    exploration_end: float = _option(0.05, "Share of random actions after that.", _SHARE, "DQN")
    evaluate_every: int = _option(
        10_000, "Steps between evaluations without chance in the actions.", _NATURAL, "Run"
    )
    episodes: int = _option(20, "Episodes of each; the best policy is released.", _NATURAL, "Run")
    checkpoint: str = _option(
        "", "File that the state is written to after each evaluation.", panel="Run"
    )
    resume: str = _option("", "Checkpoint to go on from.", panel="Run")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for one in dataclasses.fields(self):
            limits, value = one.metadata["limits"], getattr(self, one.name)
            if limits is not None and not limits.hold(value):
                raise WrongOption(f"{flag_of(one.name)}: got {value:g}, wanted {limits}.")
            known = get_args(hints[one.name])
            if get_origin(hints[one.name]) is Literal and value not in known:
                raise WrongOption(
                    f"{flag_of(one.name)}: got {value!r}, wanted one of {', '.join(known)}."
                )
        _ = self.layers

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of the hidden layers.

        Raises:
            WrongOption: they are no numbers.
        """
        words = [word.strip() for word in self.hidden.split(",")]
        if not all(word.isdecimal() and 0 < int(word) <= 65_536 for word in words):
            raise WrongOption(f"--hidden: got {self.hidden!r}, wanted numbers such as 64,64.")
        return tuple(int(word) for word in words)


#: What each algorithm uses where neither a recipe nor a flag says otherwise.
DEFAULTS: dict[Algorithm, Mapping[str, Any]] = {
    "ppo": {},
    "dqn": {"envs": 1, "activation": "relu", "learning_rate": 1e-3},
}
#: What is known to work, by algorithm and environment. CartPole's, Acrobot's and LunarLander's
#: numbers are those of RL Baselines3 Zoo, but for steps, schedules and evaluations.
RECIPES: dict[tuple[Algorithm, str], Mapping[str, Any]] = {
    ("ppo", "CartPole-v1"): {
        "steps": 100_000, "rollout": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98,
        "epochs": 20, "learning_rate": 1e-3, "schedule": "linear", "evaluate_every": 10_240,
    },
    ("dqn", "CartPole-v1"): {
        "steps": 50_000, "learning_rate": 2.3e-3, "train_every": 256, "updates": 128,
        "target_every": 10, "exploration": 0.16, "exploration_end": 0.04, "hidden": "256,256",
        "evaluate_every": 5_120, "episodes": 200, "schedule": "linear",
    },
    ("ppo", "Acrobot-v1"): {
        "steps": 1_000_000, "envs": 16, "rollout": 256, "gae_lambda": 0.94, "epochs": 4,
        "normalise": True, "evaluate_every": 40_960, "episodes": 200,
    },
    ("dqn", "Acrobot-v1"): {
        "steps": 100_000, "learning_rate": 6.3e-4, "batch_size": 128, "buffer": 50_000,
        "warmup": 0, "target_every": 250, "updates": 4, "exploration": 0.12,
        "exploration_end": 0.1, "hidden": "256,256",
    },
    ("ppo", "LunarLander-v3"): {
        "steps": 1_500_000, "envs": 16, "rollout": 1024, "gae_lambda": 0.98, "gamma": 0.999,
        "epochs": 4, "entropy": 0.01, "schedule": "linear", "evaluate_every": 98_304,
        "episodes": 40,
    },
    # What an action is worth shows within some steps: looking further adds the chance of others.
    ("ppo", "ToolWear-v0"): {
        "steps": 300_000, "envs": 16, "rollout": 256, "batch_size": 512, "learning_rate": 1e-3,
        "schedule": "linear", "gae_lambda": 0.7, "entropy": 0.003, "normalise": True,
        "evaluate_every": 20_480, "episodes": 400,
    },
    ("dqn", "ToolWear-v0"): {
        "steps": 200_000, "envs": 8, "batch_size": 128, "normalise": True, "exploration": 0.5,
        "evaluate_every": 20_000, "episodes": 100, "schedule": "linear", "updates": 4,
    },
    ("ppo", "LineSpeed-v0"): {
        "steps": 300_000, "envs": 16, "batch_size": 256, "learning_rate": 1e-3,
        "schedule": "linear", "normalise": True, "gamma": 0.98, "evaluate_every": 40_960,
        "episodes": 50,
    },
}  # fmt: skip


def options_of(algorithm: Algorithm, environment: str, given: Mapping[str, Any]) -> PolicyOptions:
    """The algorithm's defaults, the recipe for this environment, and over both what was given.

    Raises:
        WrongOption: a value is outside its limits.
    """
    recipe = RECIPES.get((algorithm, environment), {})
    said = {name: value for name, value in given.items() if value is not None}
    return PolicyOptions(**{**DEFAULTS[algorithm], **recipe, **said})


def flags() -> dict[str, tuple[Any, Any]]:
    """Type and typer option of each flag, by name; none given = None."""
    hints = get_type_hints(PolicyOptions)
    found = {}
    for one in dataclasses.fields(PolicyOptions):
        hint = hints[one.name]
        words = get_args(hint) if get_origin(hint) is Literal else ()
        kind: Any = str if words else hint
        said = one.metadata["help"] + (f" One of {', '.join(words)}." if words else "")
        usual = "" if one.default == "" else f" [dim]\\[{_usual(one.default)}][/dim]"
        option = typer.Option(
            help=f"{said}{usual}", rich_help_panel=one.metadata["panel"], show_default=False
        )
        found[one.name] = (kind | None, option)
    return found


def _usual(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
