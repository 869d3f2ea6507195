"""A policy's learning that stops and goes on.

What goes on has the weights, the optimizer, the moments of the normalisation, the remembered steps
and the best policy so far. Environments begin anew with other seeds, so it is not bit for bit what
would have come without the stop. The file holds tensors and numbers alone: no code comes with it.
"""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN

from training.options import WrongOption, flag_of
from training.policy_learning import Learner, Progress
from training.whole_files import save_checkpoint

#: Options that may differ when learning goes on: they do not decide what is learnt.
FREE = {"steps", "checkpoint", "resume", "episodes", "evaluate_every"}
#: Arrays of a replay buffer, and its numbers.
_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_MOMENTS = ("obs_rms", "ret_rms")


def save(learner: Learner, path: Path) -> None:
    """Write the state whole or not at all.

    Raises:
        GlasslineError: the file cannot be written; the one before it is whole.
    """
    progress = learner.progress
    content = {
        "environment": learner.environment.id,
        "logits": learner.logits,
        "options": dataclasses.asdict(learner.options),
        "parameters": learner.model.get_parameters(),
        "progress": {
            "steps": progress.steps,
            "low": torch.from_numpy(progress.low),
            "high": torch.from_numpy(progress.high),
            "curve": [list(one) for one in progress.curve],
            "best": list(progress.best),
            "weights": progress.weights,
        },
        "moments": _moments(learner),
        "memory": _memory(learner.model),
    }
    save_checkpoint(path, content, f"it cannot be written after {progress.steps} steps")


def restore(learner: Learner, path: Path) -> None:
    """Let a learner that has not begun go on from a checkpoint.

    Raises:
        WrongOption: there is no such checkpoint, or it is of another environment, algorithm or
            way of learning.
    """
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        made, progress = kept["options"], kept["progress"]
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        said = str(error).splitlines()
        raise WrongOption(
            f"--resume: {path} is no checkpoint of a policy ({said[0] if said else 'empty'}). "
            "Name a file that --checkpoint wrote."
        ) from None
    _same(learner, kept, made, path)
    learner.model.set_parameters(kept["parameters"], exact_match=True, device="cpu")
    learner.progress = Progress(
        low=progress["low"].numpy(),
        high=progress["high"].numpy(),
        steps=progress["steps"],
        curve=[(int(one[0]), *map(float, one[1:])) for one in progress["curve"]],  # type: ignore[misc]
        best=(float(progress["best"][0]), int(progress["best"][1])),
        weights=progress["weights"],
    )
    _restore_moments(learner, kept["moments"])
    _restore_memory(learner.model, kept["memory"])


def _same(learner: Learner, kept: dict[str, Any], made: dict[str, Any], path: Path) -> None:
    asked = dataclasses.asdict(learner.options)
    differs = [name for name in asked if name not in FREE and asked[name] != made.get(name)]
    words = [f"{flag_of(name)} {made.get(name)}" for name in differs]
    if kept["environment"] != learner.environment.id:
        words.insert(0, f"--env {kept['environment']}")
    if kept["logits"] != learner.logits:
        words.insert(0, f"--algo {'ppo' if kept['logits'] else 'dqn'}")
    if words:
        raise WrongOption(
            f"--resume: {path} was made with {', '.join(words)}. Give the same, or begin anew "
            "without --resume."
        )


def _moments(learner: Learner) -> dict[str, Any]:
    if learner.normaliser is None:
        return {}
    return {
        name: {
            "mean": torch.as_tensor(getattr(learner.normaliser, name).mean),
            "var": torch.as_tensor(getattr(learner.normaliser, name).var),
            "count": float(getattr(learner.normaliser, name).count),
        }
        for name in _MOMENTS
    }


def _restore_moments(learner: Learner, moments: dict[str, Any]) -> None:
    for name, one in moments.items():
        kept = getattr(learner.normaliser, name)
        kept.mean, kept.var, kept.count = one["mean"].numpy(), one["var"].numpy(), one["count"]


def _memory(model: Any) -> dict[str, Any]:
    """The steps that DQN remembers, those that there are."""
    if not isinstance(model, DQN) or model.replay_buffer is None:
        return {}
    buffer: Any = model.replay_buffer
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: torch.from_numpy(getattr(buffer, name)[:filled]) for name in _ARRAYS}
    numbers = {"pos": buffer.pos, "full": buffer.full, "calls": model._n_calls}
    return {**arrays, **numbers}


def _restore_memory(model: Any, memory: dict[str, Any]) -> None:
    if not memory:
        return
    buffer: Any = model.replay_buffer
    for name in _ARRAYS:
        values: np.ndarray[Any, Any] = memory[name].numpy()
        getattr(buffer, name)[: len(values)] = values
    buffer.pos, buffer.full, model._n_calls = memory["pos"], memory["full"], memory["calls"]
