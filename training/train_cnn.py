"""Train a convolutional classifier and release it. Read `main` from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor, nn

from models.cnn import LeNet5, LeNet5Config, Probabilities
from service.manifest import ExplainerDefaults, Precision
from service.protocol.media import encode_png
from service.store import ModelStore, StoredModel
from training import provenance
from training.augment import affine
from training.candidate import Candidate, pixels, probabilities
from training.class_weights import class_weights
from training.data import digits
from training.fitting import Fitted, fit
from training.learning_curve import learning_curve
from training.options import CNN, Options
from training.release import release

SUMMARY = (
    "LeNet-5 reads one handwritten digit, 0 to 9. It is the smallest honest example of a "
    "released model: it knows nothing but digits and calls any other picture a digit too."
)


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train cnn` can be told; recorded in the manifest."""

    arch: Literal["lenet5"] = "lenet5"
    data: Literal["digits"] = "digits"
    name: str = "lenet-digits"
    precision: Precision = "fp32"
    options: Options = CNN


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, train, release.

    Raises:
        GlasslineError: the device is not there, or the data are not the expected ones.
        ReleaseRefused: the exported graph is not the trained network.
    """
    data = digits.load()
    network, fitted = train(config, data, console)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release(candidate_of(config, data, network, fitted), store)


def train(config: Config, data: digits.Digits, console: Console) -> tuple[LeNet5, Fitted]:
    """Fit the network; the same seed gives the same weights on the same machine.

    Returns:
        The network with the weights of its best epoch on the validation part, and how it went.
    """
    options = config.options
    weights = class_weights(options.class_weights, digits.LABELS, data.train.labels)
    torch.manual_seed(options.seed)
    network = LeNet5(LeNet5Config(len(digits.LABELS), options.activation, options.dropout))

    def smoothed(logits: Tensor, labels: Tensor) -> Tensor:
        # A little smoothing keeps probabilities of clear digits short of 1, where no
        # explanation could see them move.
        weight = torch.from_numpy(weights).to(logits.device)
        return nn.functional.cross_entropy(logits, labels, weight, label_smoothing=0.05)

    fitted = fit(
        network,
        loss=nn.functional.cross_entropy,
        score=("accuracy", _accuracy),
        train=_pairs(data.train),
        validation=_pairs(data.validation),
        options=options,
        title=config.name,
        console=console,
        training_loss=smoothed,
        augment=affine,
    )
    return network, fitted


def candidate_of(config: Config, data: digits.Digits, network: LeNet5, fitted: Fitted) -> Candidate:
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
        task="classify",
        summary=SUMMARY,
        network=Probabilities(network),
        inputs=(pixels(digits.MEDIA),),
        outputs=(probabilities(len(digits.LABELS)),),
        rows={digits.MEDIA.input: data.test.images},
        truth=data.test.labels,
        labels=digits.LABELS,
        media=digits.MEDIA,
        explainer=ExplainerDefaults(modality="image", num_samples=1000),
        assets={
            "example": ("example.png", encode_png(data.test.images[0])),
            "learning_curve": ("learning-curve.png", learning_curve(fitted, config.name)),
        },
        provenance=provenance.describe(
            "training/train_cnn.py", config, config.options.seed, fitted.seconds, source, network
        ),
        precision=config.precision,
    )


def _pairs(part: digits.Part) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.images), torch.from_numpy(part.labels)


def _accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == labels).to(torch.float32).mean()
