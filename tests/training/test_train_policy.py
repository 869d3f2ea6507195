"""Policies are learnt, released, and gone on with; each algorithm on an environment of a moment."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from rich.console import Console

from service.errors import ReleaseRefused
from service.explain.parameters import ExplainParameters
from service.inference.session import Session
from service.modalities.choice import explainer_of
from service.store import ModelStore, StoredModel
from tests.toy_environments import STEPS
from training import policy_release, train_policy
from training.again import configured
from training.environments import describe
from training.episode_pictures import animation
from training.export import export
from training.open_graph import OpenGraph
from training.options import WrongOption
from training.policy_checkpoint import restore, save
from training.policy_learning import Learner
from training.policy_options import PolicyOptions, options_of
from training.policy_release import acting
from training.policy_tensors import asked
from training.train_policy import Config

QUIET = Console(file=io.StringIO())
TOY: dict[str, dict[str, Any]] = {
    "ppo": {"steps": 2048, "envs": 4, "rollout": 64, "learning_rate": 1e-2, "hidden": "16",
            "evaluate_every": 1024, "episodes": 5},
    "dqn": {"steps": 1000, "warmup": 50, "learning_rate": 1e-2, "hidden": "16", "gamma": 0.1,
            "evaluate_every": 500, "episodes": 5, "target_every": 50, "normalise": True},
}  # fmt: skip


def toy(algorithm: str, **changed: Any) -> Config:
    options = options_of(algorithm, "Match-v0", {**TOY[algorithm], **changed})  # type: ignore[arg-type]
    return Config(
        env="Match-v0", algo=algorithm, name=f"match-{algorithm}", measured=10,  # type: ignore[arg-type]
        options=options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredModel]:
    """Both, learnt and released."""
    store = ModelStore(tmp_path_factory.mktemp("home"))
    return {name: train_policy.main(toy(name), store, QUIET) for name in TOY}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_each_algorithm_learns_and_is_released(
    algorithm: str, released: dict[str, StoredModel]
) -> None:
    stored = released[algorithm]
    manifest = stored.manifest
    assert manifest.metrics["mean_return"] == STEPS, "each step right"
    assert manifest.metrics["return_deviation"] == 0
    assert manifest.parity.rows == 20_000
    assert manifest.parity.label_flips == 0
    policy = manifest.policy
    assert policy is not None
    assert policy.actions == ("action 0", "action 1")
    assert policy.preference == {"ppo": "log-probability", "dqn": "q-value"}[algorithm]
    lamp = policy.features[0]
    assert (lamp.name, lamp.low, lamp.high) == ("left lamp", 0, 1)
    assert (lamp.trained_low, lamp.trained_high, lamp.whole) == (0, 1, True)
    act = acting(Session(stored), policy)
    assert act(np.eye(2, dtype=np.float32)).tolist() == [0, 1]
    assert "0 actions flipped" in manifest.card
    curve = json.loads((stored.asset("learning_curve_figures") or Path()).read_bytes())
    assert [one["steps"] for one in curve] == {"ppo": [1024, 2048], "dqn": [500, 1000]}[algorithm]
    with Image.open(stored.asset("learning_curve") or "") as picture:
        assert picture.size == (700, 420)
    page = (stored.asset("page") or Path()).read_text()
    assert "What it may be asked" in page
    assert "An episode" not in page, "this environment draws nothing"
    config = configured(manifest)[1]
    assert config == toy(algorithm), "all that it takes to train it again"


def test_what_is_released_is_the_best_and_not_the_last() -> None:
    """Learning goes on, far too fast, after everything was right."""
    config = toy("ppo")
    learner = train_policy.learnt(config, describe("Match-v0"), QUIET)
    assert learner.progress.best == (STEPS, 2048)
    with torch.no_grad():
        learner.model.policy.action_net.weight.mul_(-1)  # type: ignore[union-attr, operator]
    best = learner.best(0.0)
    states = torch.eye(2)
    assert best.preferences(states).argmax(dim=1).tolist() == [0, 1]
    assert learner.policy(0.0).preferences(states).argmax(dim=1).tolist() != [0, 1]
    candidate = train_policy.candidate_of(config, describe("Match-v0"), learner, 1.0)
    assert candidate.network.preferences(states).argmax(dim=1).tolist() == [0, 1]
    assert candidate.provenance.data["best_after"] == 2048


@pytest.mark.parametrize("algorithm", ["ppo", "dqn"])
def test_learning_stops_and_goes_on(algorithm: str, tmp_path: Path) -> None:
    environment = describe("Match-v0")
    half = toy(algorithm, steps=512).options
    first = Learner(algorithm, environment, half)  # type: ignore[arg-type]
    file = tmp_path / "folder" / "state.pt"
    first.learn(lambda _: save(first, file))
    whole = toy(algorithm).options
    second = Learner(algorithm, environment, whole)  # type: ignore[arg-type]
    restore(second, file)
    assert second.progress.steps >= 512
    assert second.progress.curve == first.progress.curve
    states = first.policy(0.0).state_dict(), second.policy(0.0).state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    second.learn(lambda _: None)
    assert second.progress.steps == whole.steps
    assert second.progress.best[0] == STEPS
    for changed, said in (
        ({"gamma": 0.5}, f"--gamma {whole.gamma}"),
        ({"hidden": "8"}, "--hidden 16"),
    ):
        other = Learner(algorithm, environment, dataclasses.replace(whole, **changed))  # type: ignore[arg-type]
        with pytest.raises(WrongOption, match=f"was made with {said}"):
            restore(other, file)
    other = Learner(algorithm, describe("ToolWear-v0"), whole)  # type: ignore[arg-type]
    with pytest.raises(WrongOption, match="was made with --env Match-v0"):
        restore(other, file)
    (tmp_path / "none.pt").write_bytes(b"nothing")
    with pytest.raises(WrongOption, match="none.pt is no checkpoint of a policy"):
        restore(second, tmp_path / "none.pt")


def test_a_graph_that_acts_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, environment = toy("ppo", steps=64, evaluate_every=64), describe("Match-v0")
    learner = train_policy.learnt(config, environment, QUIET)
    candidate = train_policy.candidate_of(config, environment, learner, 1.0)

    def other(network: Any, rows: Any, names: Any, path: Path) -> None:
        swapped = Learner("ppo", environment, config.options).policy(0.0)
        with torch.no_grad():
            swapped.load_state_dict(network.state_dict())
            swapped.network[-1].weight.copy_(network.network[-1].weight.flip(0))  # type: ignore[index, operator, union-attr]
        export(swapped, rows, names, path)

    monkeypatch.setattr(policy_release, "export", other)
    with pytest.raises(ReleaseRefused, match="test rows differ by more than"):
        policy_release.release_policy(candidate, ModelStore(tmp_path))
    assert ModelStore(tmp_path).names() == []


def test_states_and_masks_go_through_the_released_graph(
    released: dict[str, StoredModel],
) -> None:
    session, states = Session(released["ppo"]), np.eye(2, dtype=np.float32)
    feed = asked(states, 2)
    feed["legal"] = np.array([[False, True], [True, True]])
    assert session.run(feed)["action_number"].tolist() == [1, 1]
    # A file of states has neither masks nor noise; samples around them lie beyond 0 and 1.
    graph = OpenGraph(released["ppo"], session)
    why = explainer_of(graph, {"observation": states[:1]}, 0, ExplainParameters())
    assert why.explain(None, time.monotonic() + 60).of().name == "action 0"
    far = asked(np.array([[3.0, 0.0]], np.float32), 2)
    answer = session.run(far)
    assert answer["safe_default"].tolist() == [True]
    assert answer["outside"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"learning_rate": 0.0}, "--learning-rate: got 0, wanted more than 0"),
        ({"gamma": 1.5}, "--gamma: got 1.5, wanted more than 0 and at most 1"),
        ({"schedule": "cosine"}, "--schedule: got 'cosine', wanted one of constant, linear"),
        ({"hidden": "64,many"}, "--hidden: got '64,many', wanted numbers"),
        ({"envs": 0}, "--envs: got 0, wanted at least 1"),
    ],
)
def test_wrong_values_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongOption, match=said):
        options_of("ppo", "CartPole-v1", given)


def test_a_recipe_stands_between_the_defaults_and_the_flags() -> None:
    assert options_of("ppo", "Unheard-v0", {}) == PolicyOptions()
    assert options_of("dqn", "Unheard-v0", {}).activation == "relu"
    recipe = options_of("ppo", "LunarLander-v3", {"seed": None, "steps": 7})
    assert (recipe.gamma, recipe.rollout, recipe.steps, recipe.seed) == (0.999, 1024, 7, 0)


def test_a_colour_that_comes_up_once_is_in_the_animation() -> None:
    colours = ([0, 114, 178], [230, 159, 0])
    blue, orange = (np.full((24, 36, 3), colour, np.uint8) for colour in colours)
    with Image.open(io.BytesIO(animation([blue, blue, blue, orange, blue]))) as pictures:
        shown = [one.convert("RGB").getpixel((3, 3)) for one in ImageSequence.Iterator(pictures)]
    np.testing.assert_allclose(shown[-2], [230, 159, 0], atol=8)
    np.testing.assert_allclose(shown[0], [0, 114, 178], atol=8)
