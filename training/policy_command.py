"""`glassline train policy`: its flags, and what its words mean."""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from service import settings as configuration
from service.store import ModelStore
from training.command_words import name_from
from training.commands import (
    IfMissing,
    app,
    check_name,
    is_there,
    one_message,
    out,
    report,
    told_patience,
)
from training.options import Limits, WrongOption
from training.policy_options import flags, options_of


class Algorithm(StrEnum):
    """What a policy is learnt by."""

    ppo = "ppo"
    dqn = "dqn"


#: Where the numbers of this command must lie.
_TOLERANCE, _MEASURED = Limits(0), Limits(1, 100_000)

Env = Annotated[
    str,
    typer.Option(
        help="Id of a gymnasium environment, with its version: CartPole-v1, LunarLander-v3, our "
        "ToolWear-v0 and LineSpeed-v0, or module:Id-v0 of your own. It must observe a row of "
        "numbers (Box of one axis) and act by number (Discrete)."
    ),
]
Algo = Annotated[
    Algorithm,
    typer.Option(help="ppo learns probabilities of actions; dqn what return each will have."),
]
Features = Annotated[
    str,
    typer.Option(
        help="Names of the observation's numbers, by commas, where the environment has none.",
        show_default=False,
    ),
]
Actions = Annotated[
    str, typer.Option(help="Names of the actions, the same way.", show_default=False)
]
DefaultAction = Annotated[
    str,
    typer.Option(
        help="What is done in a state unlike any that training saw; the environment's own, or the "
        "first.",
        show_default=False,
    ),
]
Tolerance = Annotated[
    float,
    typer.Option(
        help="How far outside what training saw a state may lie before that, in widths of the "
        "range of the feature that lies furthest."
    ),
]
Measured = Annotated[int, typer.Option(help="Episodes of the released figures.")]
Name = Annotated[
    str,
    typer.Option(
        help="Name to release under; policy- and the environment's name.", show_default=False
    ),
]


def _taking_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take every option as a flag; it gets those that were given, as `given`."""
    own = [
        one
        for one in inspect.signature(command, eval_str=True).parameters.values()
        if one.name != "given"
    ]
    offered = flags()

    @functools.wraps(command)
    def taken(**values: Any) -> None:
        command(given={name: values.pop(name) for name in offered}, **values)

    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
        )
        for name, (kind, option) in offered.items()
    ]
    named = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    taken.__signature__ = inspect.Signature([*named, *shared])  # type: ignore[attr-defined]
    taken.__annotations__ = {one.name: one.annotation for one in (*named, *shared)}
    return taken


@app.command()
@_taking_options
def policy(
    env: Env = "CartPole-v1",
    algo: Algo = Algorithm.ppo,
    features: Features = "",
    actions: Actions = "",
    default_action: DefaultAction = "",
    tolerance: Tolerance = 0.0,
    measured: Measured = 100,
    name: Name = "",
    if_missing: IfMissing = False,
    *,
    given: dict[str, Any],
) -> None:
    """Learn a policy in an environment by trial and error: what to do in which state.

    Defaults of the flags below are those of what is known to work in an environment (CartPole-v1,
    Acrobot-v1, LunarLander-v3, ToolWear-v0, LineSpeed-v0), else those in brackets. What is
    released is the policy that did best in an evaluation without chance; it is played through its
    exported graph, and its page shows an episode with the reasons for what it did.

    [dim]glassline train policy[/dim]

    [dim]glassline train policy --algo dqn --env CartPole-v1 --name cartpole-dqn[/dim]

    [dim]glassline train policy --env LunarLander-v3 --checkpoint lander.pt[/dim]

    [dim]glassline train policy --env plant.envs:Press-v0 --steps 500000 --normalise[/dim]
    """
    with one_message():
        for flag, limits, value in (
            ("--tolerance", _TOLERANCE, tolerance), ("--measured", _MEASURED, measured),
        ):  # fmt: skip
            if not limits.hold(value):
                raise WrongOption(f"{flag}: got {value:g}, wanted {limits}.")
        chosen = options_of(algo.value, env, given)
        name = name or name_of(env)
        check_name(name)
        store = ModelStore(configuration.load().root)
        if if_missing and is_there(store, name):
            return
        with told_patience():
            from training import train_policy
        config = train_policy.Config(
            env=env, algo=algo.value, features=_listed(features), actions=_listed(actions),
            default_action=default_action, tolerance=tolerance, measured=measured, name=name,
            options=chosen,
        )  # fmt: skip
        started = time.perf_counter()
        report(train_policy.main(config, store, out), time.perf_counter() - started)


def name_of(environment: str) -> str:
    """The name that a model of this environment has where none is given."""
    word = re.sub(r"-v\d+$", "", environment.rpartition(":")[2].rpartition("/")[2])
    return name_from("policy", word)


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",")) if names else ()
