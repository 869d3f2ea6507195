"""Learn a policy and release it. Read `main` from top to bottom."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import JsonValue
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from service.store import ModelStore, StoredModel
from training import environments, policy_checkpoint, provenance
from training.environments import Environment
from training.episode_pictures import return_curve
from training.lessons import one_thread
from training.policy_learning import EVALUATED_FROM, Learner
from training.policy_learning import Progress as Learnt
from training.policy_options import Algorithm, PolicyOptions
from training.policy_release import MEASURED_FROM, PolicyCandidate, release_policy


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train policy` can be told; recorded in the manifest.

    `features`, `actions` and `default_action` name what the environment does not; `tolerance` is
    how far beyond what training saw a state may lie, in widths of its range, before the default
    action is taken; `measured` are the episodes of the released figures.
    """

    env: str = "CartPole-v1"
    algo: Algorithm = "ppo"
    features: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    default_action: str = ""
    tolerance: float = 0.0
    measured: int = 100
    name: str = "policy-cartpole"
    options: PolicyOptions = field(default_factory=PolicyOptions)


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Look at the environment, learn, release the policy that did best.

    Raises:
        WrongOption: an option does not fit the environment, or it cannot be exported.
        GlasslineError: learning diverged.
        ReleaseRefused: the exported graph does not act as the network does.
    """
    environment = environments.describe(
        config.env, config.features, config.actions, config.default_action
    )
    started = time.perf_counter()
    with one_thread():
        learner = learnt(config, environment, console)
        seconds = time.perf_counter() - started
        with console.status("exporting, comparing with the network, playing, explaining ..."):
            return release_policy(candidate_of(config, environment, learner, seconds), store)


def learnt(config: Config, environment: Environment, console: Console) -> Learner:
    """Learn, with a bar on a terminal and a line for each evaluation anywhere else."""
    options = config.options
    learner = Learner(config.algo, environment, options)
    if options.resume:
        policy_checkpoint.restore(learner, Path(options.resume))
    bar = Progress(
        TextColumn(config.name),
        BarColumn(),
        TextColumn("step {task.completed:,}/{task.total:,}"),
        TextColumn("return {task.fields[figure]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    task = bar.add_task(config.name, total=options.steps, figure="-")

    def tell(progress: Learnt) -> None:
        steps, _, mean, spread = progress.curve[-1]
        figure = f"{mean:.4g} ± {spread:.2g}, best {progress.best[0]:.4g}"
        bar.update(task, completed=steps, figure=figure)
        if not console.is_terminal:
            line = f"{config.name}: step {steps:,}/{options.steps:,}, return {figure}"
            console.print(line, highlight=False, soft_wrap=True)
        if options.checkpoint:
            policy_checkpoint.save(learner, Path(options.checkpoint))

    with bar:
        learner.learn(tell)
    return learner


def candidate_of(
    config: Config, environment: Environment, learner: Learner, seconds: float
) -> PolicyCandidate:
    """The policy that did best, with everything that a release tells of it."""
    network, progress = learner.best(config.tolerance), learner.progress
    curve = [
        {"steps": steps, "training": trained if np.isfinite(trained) else None,
         "evaluation": mean, "deviation": spread}
        for steps, trained, mean, spread in progress.curve
    ]  # fmt: skip
    data: dict[str, JsonValue] = {
        "environment": environment.id,
        "steps": progress.steps,
        "best_after": progress.best[1],
        "best_evaluation": progress.best[0],
        "evaluation_seeds": f"from {EVALUATED_FROM}, figures from {MEASURED_FROM}",
    }
    return PolicyCandidate(
        name=config.name,
        summary=_summary(config, environment),
        network=network,
        environment=environment,
        preference="log-probability" if config.algo == "ppo" else "q-value",
        episodes=config.measured,
        provenance=provenance.describe(
            "training/train_policy.py", config, config.options.seed, seconds, data, network
        ),
        assets={
            "learning_curve": ("learning-curve.png", return_curve(progress, config.name)),
            "learning_curve_figures": ("learning-curve.json", json.dumps(curve).encode()),
        },
    )


def _summary(config: Config, environment: Environment) -> str:
    named = environment.named
    learnt_by = {"ppo": "proximal policy optimisation (PPO)", "dqn": "deep Q-learning (DQN)"}
    units = "-".join(map(str, config.options.layers))
    return (
        f"A policy for {environment.id}, learnt by {learnt_by[config.algo]} with {units} hidden "
        f"units: from {', '.join(named.features)} to one of {', '.join(named.actions)}. In a state "
        f"unlike any that training saw it takes '{named.default}', and says so. It was tested in "
        "the environment that it was learnt in: of a machine that behaves otherwise nothing is "
        "known."
    )
