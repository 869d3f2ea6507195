"""Figures of `train policy`: released policies played through ONNX Runtime, then a table.

Each is a command that anybody can type; what a home has already is not learnt again, so that a run
can be stopped and goes on. Episodes have seeds that neither learning, nor its evaluations, nor the
figures in the manifest have used. ToolWear's is no episode's: its graph is asked about all 24
states, and the value of what it does there is solved for exactly.

    python tests/bench/policies.py --home .glassline-bench
    python tests/bench/policies.py --only lunarlander-ppo --pictures training/pictures
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageSequence

from service.explain.parameters import ExplainParameters
from service.inference.session import Session
from service.modalities.choice import explainer_of
from service.policy import Policy
from service.store import ModelStore, StoredModel
from training.episodes import Played, play
from training.open_graph import OpenGraph
from training.policy_release import acting
from training.policy_tensors import asked

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results" / "policies.json"
#: Of the first episode.
SEED = 4_000_000
#: States that are explained, to say how long one takes.
EXPLAINED = 50


class Recipe(NamedTuple):
    """A training, and what is asked of it.

    `words` stand after `glassline train policy`; episodes are played until there are so many and
    they have had `steps` steps.
    """

    words: str
    goal: str
    episodes: int
    steps: int = 0


RECIPES = {
    "cartpole-ppo": Recipe("--algo ppo --env CartPole-v1", "500 ± 0 over 300 episodes", 300),
    "cartpole-dqn": Recipe("--algo dqn --env CartPole-v1", "500 ± 0 over 300 episodes", 300),
    "acrobot-ppo": Recipe("--algo ppo --env Acrobot-v1", ">= -75", 300, 150_000),
    "lunarlander-ppo": Recipe(
        "--algo ppo --env LunarLander-v3", ">= 242 over 150,000 steps", 100, 150_000
    ),
    "toolwear-ppo": Recipe("--algo ppo --env ToolWear-v0", ">= 99 % of the optimum", 300),
    "toolwear-dqn": Recipe("--algo dqn --env ToolWear-v0", "beside", 300),
    "linespeed-ppo": Recipe("--algo ppo --env LineSpeed-v0", "beside", 100),
}


def released(name: str, recipe: Recipe, home: Path) -> StoredModel:
    """The newest version of it, learnt if there is none."""
    store = ModelStore(home)
    if not store.versions(name):
        subprocess.run(
            [sys.executable, "-c", "from service.cli import main; main()", "train", "policy",
             *recipe.words.split(), "--name", name],
            env={**os.environ, "GLASSLINE_HOME": str(home), "OMP_NUM_THREADS": "1"},
            cwd=REPOSITORY, check=True,
        )  # fmt: skip
    return store.get(name)


def figures(model: StoredModel, recipe: Recipe) -> tuple[dict[str, Any], Played]:
    """What it does, by its graph alone."""
    policy = model.manifest.policy
    assert policy is not None
    session = Session(model)
    act = acting(session, policy)
    played = play(policy.environment, act, recipe.episodes, SEED, steps=recipe.steps, keep=10_000)
    safe = session.run(asked(played.states, len(policy.actions)))["safe_default"]
    found = {
        "mean": float(played.returns.mean()),
        "deviation": float(played.returns.std()),
        "worst": float(played.returns.min()),
        "episodes": len(played.returns),
        "steps": int(played.lengths.sum()),
        "safe_defaults": float(safe.mean()),
        "explanation_ms": explanation_ms(model, session, policy, played),
    }
    if policy.environment == "ToolWear-v0":
        from training.envs.tool_wear import observations
        from training.tool_wear_optimum import optimum, value_of

        values, _ = optimum()
        found["share_of_optimum"] = float(value_of(act(observations()))[0] / values[0])
    return found, played


def explanation_ms(model: StoredModel, session: Session, policy: Policy, played: Played) -> float:
    """Median processor time of one state's explanation, what would have to change included."""
    graph, took = OpenGraph(model, session), []
    for state in played.states[:: max(1, len(played.states) // EXPLAINED)]:
        start = time.process_time()
        explainer = explainer_of(graph, asked(state[None], len(policy.actions)), 0,
                                 ExplainParameters())  # fmt: skip
        explainer.explain(None, time.monotonic() + 60)
        explainer.evidence()
        took.append(1e3 * (time.process_time() - start))
    return float(np.median(took))


def row(name: str, recipe: Recipe, found: dict[str, Any]) -> str:
    """A line of the table."""
    got = f"{found['mean']:.1f} ± {found['deviation']:.1f}, worst {found['worst']:.0f}"
    if "share_of_optimum" in found:
        got = f"{100 * found['share_of_optimum']:.2f} % of the optimum; {got}"
    return (
        f"| {name} | {recipe.goal} | {got} | {found['episodes']} / {found['steps']:,} | "
        f"{100 * found['safe_defaults']:.2f} % | {found['explanation_ms']:.1f} |"
    )


def pictures(model: StoredModel, name: str, folder: Path) -> None:
    """The learning curve, and twelve pictures of the released episode side by side."""
    (folder / f"{name}-curve.png").write_bytes(
        (model.asset("learning_curve") or Path()).read_bytes()
    )
    with Image.open(model.asset("episode") or Path()) as animation:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]
    width, height = (extent // 2 for extent in frames[0].size)
    sheet = Image.new("RGB", (4 * width, 3 * height), "white")
    for place, at in enumerate(np.linspace(0, len(frames) - 1, 12).astype(int)):
        small = frames[at].resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(small, (place % 4 * width, place // 4 * height))
    sheet.quantize(64).save(folder / f"{name}-episode.png", optimize=True)


def main() -> None:
    """Learn what is missing, play, print the table, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".glassline-bench"))
    parser.add_argument("--only", default="", help="recipes, by commas")
    parser.add_argument("--pictures", type=Path, help="folder to draw curves and episodes into")
    parser.add_argument("--results", type=Path, default=RESULTS)
    told = parser.parse_args()
    known = json.loads(told.results.read_text()) if told.results.exists() else {"policies": {}}
    print("| policy | goal | return, or share | episodes / steps | safe default | ms to explain |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in told.only.split(",") if told.only else RECIPES:
        model = released(name, RECIPES[name], told.home.resolve())
        found, _ = figures(model, RECIPES[name])
        print(row(name, RECIPES[name], found), flush=True)
        if told.pictures:
            pictures(model, name, told.pictures)
        known["policies"][name] = {
            "command": f"glassline train policy {RECIPES[name].words}",
            "goal": RECIPES[name].goal,
            "parity_rows": model.manifest.parity.rows,
            "action_flips": model.manifest.parity.label_flips,
            "training_seconds": model.manifest.provenance.seconds,
            **found,
        }
        known["processor"] = platform.processor() or platform.machine()
        told.results.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
