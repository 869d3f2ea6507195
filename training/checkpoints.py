"""Training that stops and goes on, bit for bit."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import torch

from training.options import Options, WrongOption, flag_of
from training.whole_files import save_checkpoint

from training.torchvision_import import lightning  # isort: skip - before its own parts

from lightning.pytorch.plugins.io import TorchCheckpointIO  # isort: skip

#: Options that may differ when training goes on: they do not decide about the weights.
FREE = {"checkpoint", "resume", "log", "log_folder", "patience"}


class Checkpoint(lightning.Callback):
    """Write the state after each epoch.

    Args:
        path: of the file; the last epoch's replaces it when it is whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        trainer.save_checkpoint(self.path)


class WholeFiles(TorchCheckpointIO):
    """Writes a file whole or not at all, beside where it will be: Lightning's own fills /tmp."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        assert storage_options is None
        # What processes that train together hand to one another are weights alone.
        what = f"epoch {checkpoint['epoch'] + 1}" if "epoch" in checkpoint else "it"
        save_checkpoint(Path(path), checkpoint, f"{what} cannot be written")


def best_weights(path: Path, flag: str) -> dict[str, torch.Tensor]:
    """Weights of the best epoch that a checkpoint knows, by their names in the network.

    Args:
        path: a file that `--checkpoint` wrote.
        flag: what named it, for the message.

    Raises:
        WrongOption: there is no such checkpoint.
    """
    try:
        callbacks = torch.load(path, map_location="cpu", weights_only=True)["callbacks"]
        states = [state for state in callbacks.values() if "weights" in state]
        weights: dict[str, torch.Tensor] = states[0]["weights"]
        return weights
    except (OSError, RuntimeError, KeyError, IndexError, EOFError, pickle.UnpicklingError):
        raise WrongOption(
            f"{flag}: {path} is no checkpoint of a training. Name a file that --checkpoint wrote."
        ) from None


def load_checkpoint(options: Options, lesson: torch.nn.Module) -> dict[str, Any]:
    """What Lightning's fit needs to go on from `options.resume`; nothing where it is empty.

    Raises:
        WrongOption: there is no such checkpoint, or it was made with other options, or of a
            network of another shape.
    """
    if not options.resume:
        return {}
    path = Path(options.resume)
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        made, weights = kept["options"], kept["state_dict"]
    except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        said = str(error).splitlines()
        raise WrongOption(
            f"--resume: {path} is no checkpoint of a training ({said[0] if said else 'empty'}). "
            "Name a file that --checkpoint wrote."
        ) from None
    asked = dataclasses.asdict(options)
    differs = [name for name in asked if name not in FREE and asked[name] != made.get(name)]
    if differs:
        words = ", ".join(f"{flag_of(name)} {made.get(name)}" for name in differs)
        raise WrongOption(
            f"--resume: {path} was made with {words}. "
            "Give the same, or begin anew without --resume."
        )
    was, now = ({n: tuple(w.shape) for n, w in s.items()} for s in (weights, lesson.state_dict()))
    if was != now:
        first = next(name for name in was | now if was.get(name) != now.get(name))
        raise WrongOption(
            f"--resume: {path} is of another network: {first} has the shape {was.get(first)} "
            f"there and {now.get(first)} here. Give the flags that it was made with."
        )
    return {"ckpt_path": str(path), "weights_only": True}
