"""Train a convolutional classifier and release it. Read `main` from top to bottom."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from models.cnn import LeNet5, Probabilities
from service.errors import GlasslineError
from service.manifest import ExplainerDefaults, Precision
from service.protocol.media import encode_png
from service.store import ModelStore, StoredModel
from training import provenance
from training.augment import affine
from training.data import digits
from training.lessons import Bar, BestWeights, one_thread, quiet_lightning
from training.release import Candidate, release
from training.torchvision_import import lightning

SUMMARY = (
    "LeNet-5 reads one handwritten digit, 0 to 9. It is the smallest honest example of a "
    "released model: it knows nothing but digits and calls any other picture a digit too."
)


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train cnn` can be told; recorded in the manifest."""

    arch: Literal["lenet5"] = "lenet5"
    data: Literal["digits"] = "digits"
    seed: int = 0
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 3e-3
    device: Literal["cpu", "cuda", "auto"] = "auto"
    name: str = "lenet-digits"
    precision: Precision = "fp32"


class Lesson(lightning.LightningModule):
    """Cross-entropy with AdamW under a one-cycle learning rate, on augmented pictures."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        images, labels = batch
        logits = self.network(affine(images))
        # A little smoothing keeps probabilities of clear digits short of 1, where no
        # explanation could see them move.
        return nn.functional.cross_entropy(logits, labels, label_smoothing=0.05)

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        images, labels = batch
        logits = self.network(images)
        right = (logits.argmax(dim=-1) == labels).to(torch.float32).mean()
        loss = nn.functional.cross_entropy(logits, labels)
        self.log("validation_accuracy", right, batch_size=len(labels))
        self.log("validation_loss", loss, batch_size=len(labels))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, weight_decay=0.01)
        steps = int(self.trainer.estimated_stepping_batches)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, train, release.

    Raises:
        GlasslineError: the device is not there, or the data are not the expected ones.
        ReleaseRefused: the exported graph is not the trained network.
    """
    data = digits.load()
    network, seconds = train(config, data, console)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release(candidate_of(config, data, network, seconds), store)


def train(config: Config, data: digits.Digits, console: Console) -> tuple[LeNet5, float]:
    """Fit the network; the same seed gives the same weights on the same machine.

    Returns:
        The network with the weights of its best epoch on the validation part, and seconds.
    """
    accelerator = _accelerator(config.device)
    started = time.perf_counter()
    torch.manual_seed(config.seed)
    network = LeNet5()
    with one_thread(), quiet_lightning():
        trainer = lightning.Trainer(
            max_epochs=config.epochs,
            accelerator=accelerator,
            devices=1,
            callbacks=[BestWeights(), Bar(config.name, config.epochs, console)],
            # Nothing may land in the working folder: best weights are kept in memory.
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(
            Lesson(network, config.learning_rate),
            DataLoader(_pairs(data.train), config.batch_size, shuffle=True),
            DataLoader(_pairs(data.validation), batch_size=512),
        )
    if not all(torch.isfinite(weights).all() for weights in network.parameters()):
        raise GlasslineError(
            f"{config.name}: training diverged, its weights are no longer finite. "
            f"Lower --learning-rate (it was {config.learning_rate:g}), or raise --batch-size."
        )
    return network.cpu(), time.perf_counter() - started


def candidate_of(config: Config, data: digits.Digits, network: LeNet5, seconds: float) -> Candidate:
    """What is released: the network with softmax, tested on the digits it has never seen."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    source: dict[str, JsonValue] = {
        "name": digits.NAME,
        "sha256": digits.SHA256,
        "licence": digits.LICENCE,
        "split_seed": digits.SPLIT_SEED,
        **{f"{name}_rows": len(part.labels) for name, part in splits.items()},
    }
    return Candidate(
        name=config.name,
        family="cnn",
        summary=SUMMARY,
        network=Probabilities(network),
        labels=digits.LABELS,
        media=digits.MEDIA,
        explainer=ExplainerDefaults(modality="image", num_samples=1000),
        images=data.test.images,
        truth=data.test.labels,
        example=("example.png", encode_png(data.test.images[0])),
        provenance=provenance.describe(
            "training/train_cnn.py", config, config.seed, seconds, source, network
        ),
        precision=config.precision,
    )


def _pairs(part: digits.Part) -> TensorDataset:
    return TensorDataset(torch.from_numpy(part.images), torch.from_numpy(part.labels))


def _accelerator(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise GlasslineError(
            "device 'cuda' was demanded, but torch finds none. "
            "Check the driver and that torch is a CUDA build, or train with --device cpu."
        )
    return "gpu" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
