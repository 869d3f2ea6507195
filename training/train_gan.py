"""Train a generator of pictures and release it. Read `main` from top to bottom."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from rich.console import Console
from torch import Tensor, nn

from models.gan import SIZES, Discriminator, GanConfig, Generator
from service.errors import GlasslineError
from service.store import ModelStore, StoredModel
from service.tasks.generate import drawn_noise
from training import train_cnn
from training.adversarial import Duel, Fought, fight
from training.augment import Variation, centred, variation_of
from training.balance_curve import balance_curve
from training.data import picture_sources
from training.data.pictures import Color, Pictures
from training.feature_space import FeatureSpace, found_in, space_of
from training.frechet import frechet_distance, gaussian_of
from training.generator_release import VALIDATION_SEED, Origin, release_generator
from training.options import GAN, Options, WrongOption
from training.picture_words import name_of
from training.provenance import describe


@dataclass(frozen=True, slots=True)
class Config:
    """What `glassline train gan` can be told; recorded in the manifest.

    Attributes:
        data: see `picture_sources.load`.
        name: of the model.
        size: side of the picture in pixels, one of `models.gan.SIZES`.
        color: None = what suits the data.
        noise: numbers that a picture is made from.
        maps: of the layers with the largest maps, in both networks.
        conditional: whether the generator is told which class to draw.
        spectral_norm: see `GanConfig`.
        mean: share of the running mean of the generator's weights that an update keeps.
        move: pixels by which the discriminator sees pictures moved; see `adversarial.moved`.
        augment: variation of training pictures; None = what suits the data.
        skip_broken: leave broken pictures out.
        features: released classifier in whose feature space pictures are compared.
        samples: folder for a sheet of samples of each epoch; "" = none.
        downloads: folder of torchvision's sets.
        options: shared by all scripts.
    """

    data: str = "digits"
    name: str = "gan-digits"
    size: int = 32
    color: Color | None = None
    noise: int = 64
    maps: int = 16
    conditional: bool = False
    spectral_norm: bool = True
    mean: float = 0.995
    move: int = 0
    augment: Variation | None = None
    skip_broken: bool = False
    features: str = ""
    samples: str = ""
    downloads: str = "datasets"
    options: Options = GAN

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            sizes = ", ".join(map(str, SIZES))
            raise WrongOption(f"--size: got {self.size}, wanted one of {sizes} pixels.")
        for name, low, high in (("noise", 1, 4096), ("maps", 2, 1024), ("move", 0, self.size // 4)):
            if not low <= (got := getattr(self, name)) <= high:
                raise WrongOption(f"--{name}: got {got}, wanted {low} to {high}.")
        if not 0 <= self.mean < 1:
            raise WrongOption(f"--mean: got {self.mean:g}, wanted at least 0 and less than 1.")

    @property
    def planes(self) -> Color:
        """The colour of the picture."""
        return self.color or picture_sources.color_of(self.data)


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load, find a feature space, train, release.

    Raises:
        WrongOption: an option does not fit the data or the machine.
        BadPictures: nothing can be learnt from the pictures.
        GlasslineError: training diverged.
        ReleaseRefused: the exported graph is not the trained network.
    """
    data = load(config, console)
    config = dataclasses.replace(config, features=judge_of(config, data, store, console))
    space = space_of(store, config.features)
    space.check(data.media)
    network, fought = train(config, data, space, console)
    with console.status("exporting, comparing with the trained network, evaluating ..."):
        return release_generator(network, origin_of(config, data, network, fought), space, store)


def load(config: Config, console: Console) -> Pictures:
    """The pictures, decoded as those that a classifier is served."""
    media = picture_sources.media_of(config.data, config.size, config.planes)
    return picture_sources.load(
        config.data, media, config.skip_broken, Path(config.downloads), console
    )


def judge_of(config: Config, data: Pictures, store: ModelStore, console: Console) -> str:
    """The classifier in whose feature space pictures are compared: as asked for, or the newest in
    the store that has learnt from the same pictures, or one that is trained and released now.
    """
    if config.features:
        return space_of(store, config.features).reference
    if found := found_in(store, data.sha256, data.media):
        return found
    name = name_of("lenet5", config.data)
    line = (
        f"{config.name}: no classifier in the store has learnt from these pictures at "
        f"{config.size} x {config.size} {config.planes}; training {name}, whose features tell how "
        "real a picture looks"
    )
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    wanted = train_cnn.Config(
        data=config.data, name=name, size=config.size, color=config.planes,
        skip_broken=config.skip_broken, downloads=config.downloads,
    )  # fmt: skip
    return train_cnn.main(wanted, store, console).manifest.reference


def train(
    config: Config, data: Pictures, space: FeatureSpace, console: Console
) -> tuple[nn.Module, Fought]:
    """Fit both networks; the same seed gives the same weights on the same machine.

    Returns:
        The running mean of the generator, of the epoch whose pictures are nearest to those of the
        validation part, and how it went.
    """
    torch.manual_seed(config.options.seed)
    shape = GanConfig(
        config.noise, data.channels, config.size, config.maps,
        len(data.labels) if config.conditional else 0, config.spectral_norm,
    )  # fmt: skip
    generator, discriminator = Generator(shape), Discriminator(shape)
    real = gaussian_of(space.of(data.validation.images))
    noise = drawn_noise(VALIDATION_SEED, len(data.validation), config.noise)

    def judge(pictures: NDArray[np.uint8]) -> float:
        return frechet_distance(gaussian_of(space.of(pictures)), real)

    duel = Duel(
        generator, discriminator, config.noise, config.options, config.mean, config.move,
        variation_of(variation(config, data), config.size), judge,
    )  # fmt: skip
    fought = fight(
        duel,
        told(config, torch.from_numpy(data.train.images), data.train.labels),
        told(config, torch.from_numpy(noise), data.validation.labels),
        config.name,
        console,
        sheets(config),
    )
    return duel.network, fought


def told(config: Config, first: Tensor, labels: NDArray[np.int64]) -> tuple[Tensor, ...]:
    """With the labels beside, where the generator is told them."""
    return (first, torch.from_numpy(labels)) if config.conditional else (first,)


def variation(config: Config, data: Pictures) -> Variation:
    """How training pictures are varied: what is generated varies as much, so that only what has
    no upright is turned.
    """
    return config.augment or ("turns" if data.variation == "turns" else "none")


def sheets(config: Config) -> Path | None:
    """The folder for sheets of samples, made.

    Raises:
        GlasslineError: it cannot be made.
    """
    if not config.samples:
        return None
    folder = Path(config.samples)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GlasslineError(
            f"--samples: {folder} cannot be made ({error.strerror}). Name another folder."
        ) from None
    return folder


def origin_of(config: Config, data: Pictures, network: nn.Module, fought: Fought) -> Origin:
    """What the generator came from, and what it is held against."""
    source: dict[str, JsonValue] = data.described()
    source |= {"augmentation": variation(config, data), "features": config.features}
    return Origin(
        name=config.name,
        family="gan",
        summary=_summary(config, data, fought),
        noise=config.noise,
        labels=data.labels if config.conditional else (),
        train=centred(data.train.images, config.size),
        test=data.test.images,
        test_labels=data.test.labels,
        curve=balance_curve(fought, config.name),
        provenance=describe(
            "training/train_gan.py", config, config.options.seed, fought.seconds, source, network
        ),
    )


def _summary(config: Config, data: Pictures, fought: Fought) -> str:
    what = "A conditional DCGAN" if config.conditional else "A DCGAN"
    held = ", its discriminator held by spectral norms" if config.spectral_norm else ""
    which = "of the class that it is told" if config.conditional else "of no class that was asked"
    return (
        f"{what}{held}, trained on {data.name}; epoch {fought.best + 1} of {len(fought.rounds)} is "
        f"released. It draws pictures that look like these, {which}. It is for filling up rare "
        "classes when a classifier is trained, and for trying a line without real parts. What it "
        "draws never was in front of a camera: it is no evidence of anything, and no classifier "
        "should be tested on it."
    )
