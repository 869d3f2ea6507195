"""The page of a policy: how well it does, and an episode with the reasons for what it did."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import ExplanationError
from service.explain.counterfactual import Counterfactuals, plain
from service.explain.drawing import described
from service.explain.feature_explanation import FeatureExplanation
from service.explain.figure import AGAINST_CSS, FOR_CSS
from service.explain.legend import number
from service.explain.parameters import ExplainParameters
from service.explain.render import png
from service.inference.session import Session
from service.modalities.choice import explainer_of
from service.pages import data_uri, templates
from service.policy import ACTION_NUMBER, OUTSIDE, PREFERENCE, SAFE
from service.store import StoredModel
from training.episode_pictures import animation, return_histogram, smaller
from training.episodes import Episode, Played, watch
from training.open_graph import OpenGraph
from training.page import bars, made_by, told_rows
from training.policy_tensors import asked

FILES = {"page": "evaluation.html", "evaluation": "evaluation.png", "episode": "episode.gif"}
#: The seed of the episode that is shown, steps that are explained, and seconds for each.
SHOWN, EXPLAINED, SECONDS = 3_000_000, 6, 60.0
#: Changes that are told of each step.
CHANGES = 4
SIDE = 300
_TEMPLATES = templates(Path(__file__).parent)


def episode_page(
    model: StoredModel,
    session: Session,
    summary: str,
    played: Played,
    assets: dict[str, tuple[str, bytes]],
) -> dict[str, tuple[str, bytes]]:
    """Play an episode, explain some of its steps, write.

    Args:
        model: its manifest complete but for these assets and the card.
        session: of its graph.
        summary: the first paragraph.
        played: the episodes of its figures.
        assets: among which is the learning curve.

    Returns:
        Assets: role to file name and content; without the GIF where the environment draws nothing.
    """
    policy = model.manifest.policy
    assert policy is not None  # a policy is released here
    graph = OpenGraph(model, session)

    def act(states: NDArray[np.float32]) -> NDArray[np.int64]:
        taken: NDArray[np.int64] = graph.predict(asked(states, len(policy.actions)))[ACTION_NUMBER]
        return taken

    episode = watch(policy.environment, act, SHOWN)
    steps: list[dict[str, Any]] = []
    if episode is not None:
        answers = graph.predict(asked(episode.states, len(policy.actions)))
        steps = [
            _step(graph, episode, answers, at) for at in chosen(answers[PREFERENCE], EXPLAINED)
        ]
    gif = animation(episode.frames) if episode is not None else b""
    histogram = return_histogram(played.returns, played.lengths)
    page = _TEMPLATES.get_template("episode.html.j2").render(
        manifest=model.manifest,
        policy=policy,
        summary=summary,
        tiles=_tiles(model, played),
        curve=data_uri(assets["learning_curve"][1]),
        histogram=data_uri(histogram),
        animation=data_uri(gif, "gif") if gif else "",
        length=len(episode.actions) if episode is not None else 0,
        total=number(float(episode.rewards.sum())) if episode is not None else "",
        steps=steps,
        data=told_rows(model.manifest.provenance.data),
        made=made_by(model.manifest),
        number=number,
        colours={"for": FOR_CSS, "against": AGAINST_CSS},
    )
    content = {"page": page.encode(), "evaluation": histogram}
    if gif:
        content["episode"] = gif
    return {role: (FILES[role], body) for role, body in content.items()}


def chosen(preferences: NDArray[np.float32], count: int) -> list[int]:
    """Steps that are explained: the closest call, and others evenly spread.

    Args:
        preferences: (T, A).
        count: how many, at most.
    """
    steps = len(preferences)
    ordered = np.sort(preferences, axis=1)
    closest = int(np.argmin(ordered[:, -1] - ordered[:, -2]))
    even = np.linspace(0, steps - 1, min(count - 1, steps)).round().astype(int).tolist()
    return sorted({closest, *even})


def _step(
    graph: OpenGraph, episode: Episode, answers: dict[str, NDArray[Any]], at: int
) -> dict[str, Any]:
    """One step with its picture, its preferences and its reasons."""
    policy = graph.manifest.policy
    assert policy is not None
    state, taken = episode.states[at], int(answers[ACTION_NUMBER][at])
    told: dict[str, Any] = {"weights": [], "changes": [], "r2": None}
    try:
        feed = asked(state[None], len(policy.actions))
        explainer = explainer_of(graph, feed, 0, ExplainParameters())
        found = explainer.explain(None, time.monotonic() + SECONDS)
        assert isinstance(found, FeatureExplanation)
        first = found.of()
        named = tuple((described(found.features[one]), weight) for one, weight in first.weights)
        told = {"weights": bars(named), "changes": [], "r2": first.r2}
        for one in explainer.evidence():
            if isinstance(one, Counterfactuals):
                told["changes"] = [str(change) for change in one.changes[:CHANGES]]
    except ExplanationError as error:  # nothing moves the preference
        told["refused"] = str(error)
    preferences = answers[PREFERENCE][at].tolist()
    return {
        "number": at,
        "frame": data_uri(png(smaller(episode.frames[at], SIDE))),
        "action": policy.actions[taken],
        "safe": bool(answers[SAFE][at]),
        "outside": float(answers[OUTSIDE][at]),
        "state": [
            (one.name, f"{plain(float(value))}{f' {one.unit}' if one.unit else ''}")
            for one, value in zip(policy.features, state, strict=True)
        ],
        "preferences": [
            (name, number(value), name == policy.actions[taken])
            for name, value in zip(policy.actions, preferences, strict=True)
        ],
        "reward": number(float(episode.rewards[at])),
        **told,
    }


def _tiles(model: StoredModel, played: Played) -> list[tuple[str, str, str]]:
    parity, figures = model.manifest.parity, model.manifest.metrics
    low, high = np.percentile(played.returns, [5, 95])
    return [
        ("mean return", number(float(played.returns.mean())),
         f"± {number(float(played.returns.std()))} over {len(played.returns)} episodes"),
        ("nine of ten episodes", f"{number(float(low))} to {number(float(high))}",
         f"the worst: {number(float(played.returns.min()))}"),
        ("steps of an episode", number(float(played.lengths.mean())), "on average"),
        ("safe default", f"{100 * figures['safe_defaults']:.2g} %",
         "of these states were unlike training's"),
        ("graph against network", f"{parity.label_flips} actions differ",
         f"of {parity.rows} states; largest difference {parity.max_abs_difference:.1e}"),
    ]  # fmt: skip
