"""`glassline train cnn`: its flags, and what its words mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from service import settings as configuration
from service.store import ModelStore
from training.command_words import word_of
from training.commands import (
    EightBits,
    HalfPrecision,
    IfMissing,
    app,
    check_name,
    is_there,
    one_message,
    out,
    precision_of,
    report,
    told_patience,
)
from training.options import CNN, Options, taking
from training.picture_words import Augment, Color, color_flag, name_of, skip_broken_flag


class Arch(StrEnum):
    """Architectures that `train cnn` knows."""

    lenet5 = "lenet5"
    alexnet = "alexnet"
    inception = "inception"
    resnet18 = "resnet18"
    resnet34 = "resnet34"


class Pretrained(StrEnum):
    """Networks with weights from ImageNet."""

    none = "none"
    efficientnet_lite0 = "efficientnet_lite0"
    alexnet = "alexnet"
    googlenet = "googlenet"
    mobilenet_v3_small = "mobilenet_v3_small"
    resnet18 = "resnet18"
    resnet34 = "resnet34"
    resnet50 = "resnet50"


ArchOption = Annotated[
    Arch,
    typer.Option(
        help="Architecture, trained from scratch. lenet5: 61,706 parameters, 32 x 32 grey pixels; "
        "the others adapt to --size and --color."
    ),
]
Data = Annotated[
    str,
    typer.Option(
        help="What to learn. digits: scikit-learn's 1,797 handwritten digits; FOLDER: a subfolder "
        "with PNG or JPEG files for each class; deeppcb:FOLDER: six defects of circuit boards; "
        "deeppcb-good:FOLDER: and good places; or mnist, fashion-mnist, kmnist, usps, cifar10, "
        "cifar100, svhn, downloaded once."
    ),
]
Name = Annotated[
    str,
    typer.Option(
        help="Name to release under: lower case, digits, dashes; network and data where none is "
        "given.",
        show_default=False,
    ),
]
Size = Annotated[
    int,
    typer.Option(
        help="Side of the picture in pixels; 0 = what suits: 32 or 64, 224 with --pretrained.",
        min=0,
    ),
]
ColorOption = Annotated[Color, color_flag(grey="lenet5")]
Width = Annotated[
    float,
    typer.Option(
        help="Share of the maps in each layer; 0.5 is a quarter of the work. Not of lenet5.",
        min=0.05,
        max=4,
    ),
]
AugmentOption = Annotated[
    Augment,
    typer.Option(
        help="affine: turned, scaled and moved a little; crop-flip: moved and mirrored left to "
        "right; turns: moved, and laid in any of eight ways, for what has no upright. auto: "
        "affine for digits, turns for boards, else crop-flip."
    ),
]
SkipBroken = Annotated[bool, skip_broken_flag()]
PretrainedOption = Annotated[
    Pretrained,
    typer.Option(
        help="Build on a network with weights from ImageNet, instead of --arch. "
        "efficientnet_lite0 comes with a package; torchvision's others are downloaded once.",
        rich_help_panel="Transfer learning",
    ),
]
Tune = Annotated[
    str,
    typer.Option(
        help="What is trained of it: last (layer), last-K (and the K blocks before it) or all. "
        "Frozen blocks run once; batch norms keep their statistics.",
        rich_help_panel="Transfer learning",
    ),
]
RateDecay = Annotated[
    float,
    typer.Option(
        help="Share of the learning rate from one tuned block to the one before it; 1 = all alike.",
        min=0.01,
        max=1,
        rich_help_panel="Transfer learning",
    ),
]


@app.command()
@taking(CNN, without=("scaling", "refit"))
def cnn(
    arch: ArchOption = Arch.lenet5,
    data: Data = "digits",
    name: Name = "",
    size: Size = 0,
    color: ColorOption = Color.auto,
    width: Width = 1.0,
    augment: AugmentOption = Augment.auto,
    skip_broken: SkipBroken = False,
    pretrained: PretrainedOption = Pretrained.none,
    tune: Tune = "last",
    rate_decay: RateDecay = 0.7,
    fp16: HalfPrecision = False,
    int8: EightBits = False,
    if_missing: IfMissing = False,
    *,
    options: Callable[[], Options],
) -> None:
    """Train a convolutional classifier.

    Without options: LeNet-5 on the digits that come with scikit-learn, in about half a
    minute, about 99 % right on digits it has never seen.

    [dim]glassline train cnn[/dim]

    [dim]glassline train cnn --seed 1 --epochs 60 --name lenet-second[/dim]

    [dim]glassline train cnn --data parts/ --arch resnet18 --size 96 --augment turns[/dim]

    [dim]glassline train cnn --data parts/ --pretrained efficientnet_lite0 --tune last-3[/dim]

    [dim]glassline train cnn --if-missing  # in scripts: train once, then reuse[/dim]
    """
    with one_message():
        settings = configuration.load()
        store = ModelStore(settings.root)
        network = arch.value if pretrained is Pretrained.none else pretrained.value
        name = name or name_of(network, data)
        if if_missing and is_there(store, name):
            return
        chosen = options()
        check_name(name)
        with told_patience():
            from training import train_cnn
        started = time.perf_counter()
        config = train_cnn.Config(
            arch=arch.value, data=data, name=name, precision=precision_of(fp16, int8),
            size=size or None, color=word_of(color), width=width,
            augment=word_of(augment), skip_broken=skip_broken,
            pretrained="" if pretrained is Pretrained.none else pretrained.value, tune=tune,
            rate_decay=rate_decay, downloads=str(settings.root / "datasets"), options=chosen,
        )  # fmt: skip
        report(train_cnn.main(config, store, out), time.perf_counter() - started)
