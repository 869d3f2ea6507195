"""From a learnt policy to a model in the store, or to a refusal.

What `release.py` does for networks that were fitted to rows: export, hold the graph against the
network on states of real episodes, play the environment through the graph and the service's own
code, write the manifest, the page and the card, store.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.policy import PolicyNetwork
from service.explain.background import TableBackground
from service.inference.session import Session
from service.manifest import (
    ExplainerDefaults,
    Graph,
    Manifest,
    Parity,
    Policy,
    Provenance,
    Randomisation,
)
from service.policy import (
    ACTION_NUMBER,
    LEGAL,
    NOISE,
    OBSERVATION,
    SAFE,
)
from service.store import ModelStore, StoredModel, sha256_of
from training import parity, randomisation
from training.candidate import Candidate, Rows, some_rows
from training.card import card_of
from training.environments import Environment
from training.episode_page import episode_page
from training.episodes import Act, Played, play
from training.export import export
from training.policy_tensors import Preference, asked, inputs_of, outputs_of, policy_of

GRAPH = "predict.onnx"
#: States of whole episodes that the parity gate sees: as they are, and again with random masks
#: and noise.
STATES = 10_000
#: Seeds of the figures' episodes: no evaluation of the training has seen them.
MEASURED_FROM = 2_000_000


@dataclass(frozen=True, slots=True)
class PolicyCandidate:
    """A learnt policy that asks to be released.

    Attributes:
        summary: what it is and what it is for: the first paragraph of its card.
        network: with the bounds of what training saw.
        preference: what its first output holds.
        episodes: that its figures are the mean of.
        assets: role to file name and content.
    """

    name: str
    summary: str
    network: PolicyNetwork
    environment: Environment
    preference: Preference
    episodes: int
    provenance: Provenance
    assets: dict[str, tuple[str, bytes]]


def release_policy(candidate: PolicyCandidate, store: ModelStore) -> StoredModel:
    """Release a candidate as the next version of its name.

    Returns:
        The stored model; the figures in its manifest were measured through ONNX Runtime.

    Raises:
        ReleaseRefused: the graph does not act as the network does; nothing was stored.
        StoreError: the store cannot take it.
    """
    states = visited(candidate)
    policy = policy_of(candidate.environment, candidate.network, candidate.preference, states)
    held = _held(candidate, policy, states)
    with tempfile.TemporaryDirectory(prefix="glassline-release-") as scratch:
        folder = Path(scratch)
        _export(held, candidate.network, folder / GRAPH)
        found = parity.check(held, folder / GRAPH)
        assets = {**candidate.assets, **_told(candidate, states)}
        _write(folder, assets)
        version = store.next_version(candidate.name)
        draft = StoredModel(_manifest(candidate, version, folder, policy, found, assets), folder)
        session = Session(draft)
        played = play(
            candidate.environment.id, acting(session, policy), candidate.episodes, MEASURED_FROM,
            keep=STATES,
        )  # fmt: skip
        facts: dict[str, Any] = {
            "metrics": measured(played, session, policy),
            "randomisation": _sanity(held, draft, candidate.network),
        }
        draft = StoredModel(draft.manifest.model_copy(update=facts), folder)
        page = episode_page(draft, session, candidate.summary, played, assets)
        _write(folder, page)
        assets |= page
        manifest = _manifest(candidate, version, folder, policy, found, assets, facts)
        card = {"card": card_of(manifest, candidate.summary)}
        files = (GRAPH, *(file for file, _ in assets.values()))
        return store.put(manifest.model_copy(update=card), {name: folder / name for name in files})


def acting(session: Session, policy: Policy) -> Act:
    """The released graph's action, all actions legal and nothing left to chance."""
    actions = len(policy.actions)

    def act(states: NDArray[np.float32]) -> NDArray[np.int64]:
        taken: NDArray[np.int64] = session.run(asked(states, actions))[ACTION_NUMBER]
        return taken

    return act


def measured(played: Played, session: Session, policy: Policy) -> dict[str, float]:
    """Return and length of whole episodes, and how often the safe default was taken in them."""
    safe = session.run(asked(played.states, len(policy.actions)))[SAFE]
    return {
        "mean_return": float(played.returns.mean()),
        "return_deviation": float(played.returns.std()),
        "worst_return": float(played.returns.min()),
        "mean_length": float(played.lengths.mean()),
        "episodes": float(len(played.returns)),
        "safe_defaults": float(safe.mean()),
    }


def visited(candidate: PolicyCandidate) -> NDArray[np.float32]:
    """States of whole episodes that the policy itself played, `STATES` of them."""
    actions = len(candidate.environment.named.actions)

    def act(states: NDArray[np.float32]) -> NDArray[np.int64]:
        answers = parity.network_answers(candidate.network, asked(states, actions))
        return answers[1].astype(np.int64)

    played = play(candidate.environment.id, act, 1, MEASURED_FROM, steps=STATES, keep=STATES)
    return played.states


def _held(candidate: PolicyCandidate, policy: Policy, states: NDArray[np.float32]) -> Candidate:
    """What the parity gate looks at."""
    actions = len(policy.actions)
    return Candidate(
        name=candidate.name,
        family="policy",
        task="act",
        summary=candidate.summary,
        network=candidate.network,
        inputs=inputs_of(policy),
        outputs=outputs_of(policy),
        rows=[asked(states, actions), _varied(states, actions)],
        truth=np.zeros(2 * len(states)),
        provenance=candidate.provenance,
        labels=policy.actions,
    )


def _varied(states: NDArray[np.float32], actions: int) -> Rows:
    """The same states with some actions illegal, at least one legal, and with Gumbel noise."""
    random = np.random.default_rng(0)
    legal = random.random((len(states), actions)) < 0.7
    legal[np.arange(len(states)), random.integers(0, actions, len(states))] = True
    noise = random.gumbel(size=(len(states), actions)).astype(np.float32)
    return {OBSERVATION: states, LEGAL: legal, NOISE: noise}


def _export(held: Candidate, network: nn.Module, path: Path) -> None:
    names = [tensor.name for tensor in held.outputs]
    export(network, some_rows(held.blocks[0], slice(2)), names, path)


def _sanity(held: Candidate, draft: StoredModel, network: nn.Module) -> Randomisation | None:
    rows, num_samples = held.sanity
    spread = np.linspace(0, len(held.blocks[0][OBSERVATION]) - 1, rows).astype(np.intp)
    return randomisation.check(
        draft,
        network,
        lambda other, path: _export(held, other, path),
        some_rows(held.blocks[0], spread),
        num_samples=num_samples,
    )


def _told(candidate: PolicyCandidate, states: NDArray[np.float32]) -> dict[str, tuple[str, bytes]]:
    """Statistics of visited states, and a state to ask about."""
    # Nothing can be drawn of a number that never changes but itself; a switch is one or the other.
    kinds = [at for at in range(states.shape[1]) if _is_switch(states[:, at])]
    # Without bins: preferences follow the numbers themselves far better than the quartile that
    # they lie in.
    background = TableBackground.fit(
        states.astype(np.float64),
        names=candidate.environment.named.features,
        categorical=kinds,
        discretizers=(),
    )
    example = {
        "inputs": [
            {
                "name": OBSERVATION, "datatype": "FP32", "shape": [1, states.shape[1]],
                "data": [float(value) for value in states[len(states) // 2]],
            }
        ]
    }  # fmt: skip
    return {
        "background": ("background.json", json.dumps(background.to_json()).encode()),
        "example": ("example.json", json.dumps(example, indent=1).encode()),
    }


def _is_switch(values: NDArray[np.float32]) -> bool:
    different = np.unique(values)
    return len(different) == 1 or (len(different) == 2 and bool((different % 1 == 0).all()))


def _write(folder: Path, assets: dict[str, tuple[str, bytes]]) -> None:
    for file, content in assets.values():
        (folder / file).write_bytes(content)


def _manifest(
    candidate: PolicyCandidate,
    version: str,
    folder: Path,
    policy: Policy,
    found: Parity,
    assets: dict[str, tuple[str, bytes]],
    facts: dict[str, Any] | None = None,
) -> Manifest:
    def part(file: str) -> Graph:
        return Graph(file=file, sha256=sha256_of(folder / file))

    return Manifest(
        name=candidate.name,
        version=version,
        family="policy",
        task="act",
        graphs={"predict": part(GRAPH)},
        assets={role: part(file) for role, (file, _) in assets.items()},
        inputs=inputs_of(policy),
        outputs=outputs_of(policy),
        policy=policy,
        explainer=ExplainerDefaults(modality="table", num_samples=1000),
        parity=found,
        provenance=candidate.provenance,
        **(facts or {}),
    )
