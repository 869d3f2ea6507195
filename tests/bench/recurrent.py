"""Figures of `train recurrent`, measured through ONNX Runtime: a training a seed, then a table.

Each is a command that anybody can type; what a home has already is not trained again, so that a
run can be stopped and goes on. C-MAPSS and the reviews are read from ../shared/data; what is not
there is left out, and said.

    python tests/bench/recurrent.py --home .glassline-bench --seeds 5
    python tests/bench/recurrent.py --only fd001-gru --seeds 1
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from service.manifest import Manifest
from service.store import ModelStore

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
RESULTS = Path(__file__).parent / "results" / "recurrent.json"
_VOWELS = (
    "--bidirectional --layers 2 --units 100 --pooling mean+max --noise 0.5 --dropout 0.5 --refit"
)
_QUICK = (
    "--bidirectional --layers 2 --units 64 --pooling mean+max --noise 0.4 --dropout 0.5 "
    "--batch-size 16 --epochs 30"
)
_REVIEWS = (
    "--cell lstm --bidirectional --units 32 --width 64 "
    "--batch-size 64 --epochs 3 --learning-rate 2e-3 --dropout 0.5 --l2 0.0001"
)
_ENGINES = (
    "--units 32 --window 80 --shortest 30 --longest 60 --stride 5 --noise 0.6 --dropout 0.2 "
    "--l2 0.01 --epochs 9"
)


class Recipe(NamedTuple):
    """A training: the words after `glassline train recurrent`, the goal of its first figure."""

    words: str
    figures: tuple[str, ...]
    goal: str
    data: str = ""


RECIPES = {
    "vowels-gru": Recipe(f"--cell gru {_VOWELS}", ("accuracy",), ">= 0.985"),
    "vowels-refit-gru": Recipe(f"--cell gru {_QUICK} --refit", ("accuracy",), ">= 0.985"),
    "vowels-quick-gru": Recipe(f"--cell gru {_QUICK}", ("accuracy",), "beside"),
    "vowels-quick-rnn": Recipe(f"--cell rnn {_QUICK}", ("accuracy",), "beside"),
    "fd001-gru": Recipe(
        f"--cell gru {_ENGINES}", ("rmse", "phm_score", "interval_coverage", "interval_width"),
        "<= 12.6", "cmapss",
    ),
    "fd001-lstm": Recipe(
        f"--cell lstm {_ENGINES}", ("rmse", "phm_score", "interval_coverage", "interval_width"),
        "<= 12.6", "cmapss",
    ),
    "reviews-lstm": Recipe(_REVIEWS, ("accuracy",), ">= 0.77", "rt-polarity"),
    "reviews-lstm-alone": Recipe(f"{_REVIEWS} --pairs 0", ("accuracy",), "beside", "rt-polarity"),
}  # fmt: skip


def trained(name: str, recipe: Recipe, seed: int, home: Path) -> Manifest | None:
    """What a seed released; None where its data are not there."""
    store, called = ModelStore(home), f"{name}-{seed}"
    if not store.versions(called):
        words = [*recipe.words.split(), "--seed", str(seed), "--name", called]
        if recipe.data:
            if not (DATA / recipe.data).is_dir():
                return None
            words += ["--data", str(DATA / recipe.data)]
        subprocess.run(
            [sys.executable, "-c", "from service.cli import main; main()", "train", "recurrent",
             *words],
            env={**os.environ, "GLASSLINE_HOME": str(home), "OMP_NUM_THREADS": "1"},
            cwd=REPOSITORY, check=True,
        )  # fmt: skip
    return store.get(called).manifest


def summed(name: str, recipe: Recipe, manifests: list[Manifest]) -> dict[str, Any]:
    """Mean and single figures of a recipe's seeds, with what it took."""
    figures = {
        figure: {
            "mean": statistics.mean(one.metrics[figure] for one in manifests),
            "each": [one.metrics[figure] for one in manifests],
        }
        for figure in recipe.figures
    }
    return {
        "name": name,
        "command": f"glassline train recurrent {recipe.words}",
        "goal": f"{recipe.figures[0]} {recipe.goal}",
        "seeds": len(manifests),
        "figures": figures,
        "largest_export_difference": max(one.parity.max_abs_difference for one in manifests),
        "export_tolerance": max(one.parity.tolerance for one in manifests),
        "seconds_each": [one.provenance.seconds for one in manifests],
    }


def row(found: dict[str, Any]) -> str:
    """A line of the table."""
    cells = [
        f"{figure} {of['mean']:.4g} ({', '.join(f'{one:.4g}' for one in of['each'])})"
        for figure, of in found["figures"].items()
    ]
    apart = f"{found['largest_export_difference']:.1e}"
    return f"| {found['name']} | {found['goal']} | {'; '.join(cells)} | {apart} |"


def main() -> None:
    """Train what is missing, print the table, write the results."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--home", type=Path, default=Path(".glassline-bench"))
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--only", default="", help="recipes, by commas")
    asked.add_argument("--results", type=Path, default=RESULTS)
    told = asked.parse_args()
    known = json.loads(told.results.read_text()) if told.results.exists() else {"recipes": []}
    by_name = {one["name"]: one for one in known["recipes"]}
    print("| recipe | goal | figures: mean (each seed) | largest export difference |")
    print("|---|---|---|---|", flush=True)
    for name in told.only.split(",") if told.only else RECIPES:
        made = [
            trained(name, RECIPES[name], seed, told.home.resolve()) for seed in range(told.seeds)
        ]
        there = [one for one in made if one is not None]
        if not there:
            print(f"left out: {name}, {DATA / RECIPES[name].data} is not there", flush=True)
            continue
        by_name[name] = summed(name, RECIPES[name], there)
        print(row(by_name[name]), flush=True)
        body = {"processor": platform.processor() or platform.machine(),
                "recipes": [by_name[one] for one in RECIPES if one in by_name]}  # fmt: skip
        told.results.write_text(json.dumps(body, indent=1) + "\n")


if __name__ == "__main__":
    main()
