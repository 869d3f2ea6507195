"""Train a convolutional classifier and release it. Read `main` from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor, nn

from models.cnn import ARCHITECTURES, PictureConfig, Probabilities, network_of
from models.transfer import Transferred
from service.manifest import ExplainerDefaults, Precision
from service.protocol.media import encode_png
from service.store import ModelStore, StoredModel
from training import pretrained, provenance, transfer
from training.augment import Variation, centred, variation_of
from training.candidate import Candidate, Held, pixels, probabilities
from training.class_weights import class_weights
from training.data import picture_sources
from training.data.pictures import Color, Part, Pictures
from training.fitting import Fitted, Loss, fit
from training.learning_curve import learning_curve
from training.options import CNN, Options, WrongOption
from training.release import release

Arch = Literal["lenet5", "alexnet", "inception", "resnet18", "resnet34"]
#: The side that ImageNet's weights were trained with.
PRETRAINED_SIDE = 224
NAMES = {
    "lenet5": "LeNet-5",
    "alexnet": "AlexNet",
    "inception": "A small Inception",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
}


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train cnn` can be told; recorded in the manifest.

    Attributes:
        arch: of a network that is trained from scratch.
        data: see `picture_sources.load`.
        name: of the model.
        precision: of the released graph.
        size: side of the picture in pixels; None = what suits data and network.
        color: None = what suits data and network.
        width: share of the maps of each layer; LeNet-5 has one width.
        augment: variation of training pictures; None = what suits the data.
        skip_broken: leave broken pictures out.
        pretrained: instead of `arch`, a name of `pretrained.BODIES`; "" = from scratch.
        tune: what is trained of it; see `transfer.tuned_blocks`.
        rate_decay: share of the learning rate from one of its blocks to the one before it.
        downloads: folder of torchvision's sets.
        options: shared by all scripts.
    """

    arch: Arch = "lenet5"
    data: str = "digits"
    name: str = "lenet-digits"
    precision: Precision = "fp32"
    size: int | None = None
    color: Color | None = None
    width: float = 1.0
    augment: Variation | None = None
    skip_broken: bool = False
    pretrained: str = ""
    tune: str = "last"
    rate_decay: float = 0.7
    downloads: str = "datasets"
    options: Options = CNN

    def __post_init__(self) -> None:
        smallest = 32 if self.pretrained else ARCHITECTURES[self.arch][1]
        if not smallest <= self.side <= 1024:
            raise WrongOption(
                f"--size: got {self.side}, wanted {smallest} to 1024 pixels for "
                f"{self.pretrained or self.arch}."
            )
        if self.width != 1 and (self.pretrained or self.arch == "lenet5"):
            raise WrongOption(
                f"--width: got {self.width:g}, but {self.pretrained or self.arch} has one width. "
                "Leave it out, or take another --arch."
            )
        if self.pretrained:
            self._check_pretrained()
        elif self.tune != "last":
            raise WrongOption(
                f"--tune: got {self.tune!r}, but {self.arch} is trained from scratch, all of it. "
                "Leave it out, or name a network with --pretrained."
            )

    def _check_pretrained(self) -> None:
        if self.pretrained not in pretrained.BODIES:
            raise WrongOption(
                f"--pretrained: got {self.pretrained!r}, wanted one of "
                f"{', '.join(pretrained.BODIES)}."
            )
        if self.color == "L":
            raise WrongOption(
                f"--color: got L, but {self.pretrained} has learnt from RGB. Leave it out: grey "
                "pictures are decoded as RGB."
            )
        if self.options.activation != CNN.activation:
            raise WrongOption(
                f"--activation: got {self.options.activation}, but {self.pretrained} has its own. "
                "Leave it out."
            )

    @property
    def side(self) -> int:
        """Of the picture, in pixels."""
        if self.size is not None:
            return self.size
        if self.pretrained:
            return PRETRAINED_SIDE
        return picture_sources.size_of(self.data) or ARCHITECTURES[self.arch][0]

    @property
    def planes(self) -> Color:
        """The colour of the picture."""
        if self.color is None and (self.pretrained or self.arch == "lenet5"):
            return "RGB" if self.pretrained else "L"
        return self.color or picture_sources.color_of(self.data)


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, train, release.

    Raises:
        WrongOption: an option does not fit the data or the machine.
        BadPictures: nothing can be learnt from the pictures.
        GlasslineError: weights or data cannot be had, or training diverged.
        ReleaseRefused: the exported graph is not the trained network.
    """
    data = load(config, console)
    network, fitted = train(config, data, console)
    if fitted.waiting is not None:
        line = f"{config.name}: {fitted.waiting:.1%} of the training time went by waiting for data"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release(candidate_of(config, data, network, fitted), store)


def load(config: Config, console: Console) -> Pictures:
    """The pictures, decoded as the served model will decode them."""
    media = picture_sources.media_of(config.data, config.side, config.planes)
    return picture_sources.load(
        config.data, media, config.skip_broken, Path(config.downloads), console
    )


def train(config: Config, data: Pictures, console: Console) -> tuple[nn.Module, Fitted]:
    """Fit the network; the same seed gives the same weights on the same machine.

    Returns:
        The network with the weights of its best epoch on the validation part, and how it went.
    """
    options = config.options
    loss = smoothed(class_weights(options.class_weights, data.labels, data.train.labels))
    vary = variation_of(config.augment or data.variation, config.side)
    torch.manual_seed(options.seed)
    if config.pretrained:
        network = transferred(config, len(data.labels))
        lessons = transfer.Lessons(nn.functional.cross_entropy, loss, ("accuracy", accuracy), vary)
        return network, transfer.tune(
            network, data.train, data.validation, lessons, config.rate_decay, options,
            config.name, console,
        )  # fmt: skip
    gain, offset = standard(data.train)
    shape = PictureConfig(
        len(data.labels), data.channels, config.side, config.width, options.activation,
        options.dropout, gain, offset,
    )  # fmt: skip
    scratch = network_of(config.arch, shape)
    fitted = fit(
        scratch,
        loss=nn.functional.cross_entropy,
        score=("accuracy", accuracy),
        train=pair(data.train),
        validation=pair(data.validation),
        options=options,
        title=config.name,
        console=console,
        training_loss=loss,
        augment=vary,
    )
    return scratch, fitted


def transferred(config: Config, classes: int) -> Transferred:
    """A pretrained network with a fresh last layer."""
    body = pretrained.load(config.pretrained).body
    tuned = transfer.tuned_blocks(config.tune, body)
    return Transferred(body, classes, tuned, config.options.dropout)


def standard(part: Part) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Gain and offset of each channel that bring the part to mean 0 and deviation 1."""
    mean = part.images.mean(axis=(0, 2, 3), dtype=np.float64)
    # Pictures of one grey have no deviation; they are refused by their accuracy, not here.
    spread = np.maximum(part.images.std(axis=(0, 2, 3), dtype=np.float64), 1.0)
    return tuple((1 / spread).tolist()), tuple((-mean / spread).tolist())


def smoothed(weights: np.ndarray) -> Loss:
    """Cross-entropy by class weight, with labels smoothed.

    A little smoothing keeps probabilities of clear pictures short of 1, where no explanation
    could see them move.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        weight = torch.from_numpy(weights).to(logits.device)
        return nn.functional.cross_entropy(logits, labels, weight, label_smoothing=0.05)

    return loss


def candidate_of(config: Config, data: Pictures, network: nn.Module, fitted: Fitted) -> Candidate:
    """What is released: the network with softmax, tested on pictures it has never seen."""
    source = data.described()
    source["augmentation"] = config.augment or data.variation
    if config.pretrained:
        source |= _origin(config)
    return Candidate(
        name=config.name,
        family="cnn",
        task="classify",
        summary=_summary(config, data),
        network=Probabilities(network),
        inputs=(pixels(data.media),),
        outputs=(probabilities(len(data.labels)),),
        rows={data.media.input: data.test.images},
        truth=data.test.labels,
        labels=data.labels,
        media=data.media,
        explainer=ExplainerDefaults(modality="image", num_samples=1000),
        assets={
            "example": ("example.png", encode_png(data.test.images[data.example])),
            "learning_curve": ("learning-curve.png", learning_curve(fitted, config.name)),
        },
        provenance=provenance.describe(
            "training/train_cnn.py", config, config.options.seed, fitted.seconds, source, network
        ),
        precision=config.precision,
        validation=Held({data.media.input: data.validation.images}, data.validation.labels),
        calibration={data.media.input: centred(data.train.images, config.side)},
    )


def pair(part: Part) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.images), torch.from_numpy(part.labels)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the rows that are right."""
    return (logits.argmax(dim=-1) == labels).to(torch.float32).mean()


def _origin(config: Config) -> dict[str, JsonValue]:
    found = pretrained.load(config.pretrained)
    return {
        "pretrained": found.name,
        "pretrained_sha256": found.sha256,
        "pretrained_licence": found.licence,
    }


def _summary(config: Config, data: Pictures) -> str:
    if config.pretrained:
        what = f"{config.pretrained}, with weights from ImageNet, tuned: {config.tune}"
    else:
        narrow = "" if config.width == 1 else f" at {config.width:g} of its width"
        what = f"{NAMES[config.arch]}{narrow}, trained from scratch"
    return (
        f"{what}, on {data.name}. It names one of {len(data.labels)} classes and knows nothing "
        "else: any other picture is called one of them too. It was tested on pictures of the same "
        "data set: of other cameras, lights and parts nothing is known."
    )
