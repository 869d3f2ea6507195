"""`glassline train gan`: its flags, and what its words mean."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from service import settings as configuration
from service.store import ModelStore
from training.command_words import word_of
from training.commands import (
    IfMissing,
    app,
    check_name,
    is_there,
    one_message,
    out,
    report,
    told_patience,
)
from training.options import GAN, Options, taking
from training.picture_words import Augment, Color, color_flag, name_of, skip_broken_flag

Data = Annotated[
    str,
    typer.Option(
        help="What to learn to draw: as of `train cnn`. digits, FOLDER with a subfolder for each "
        "class, deeppcb:FOLDER, or one of torchvision's sets."
    ),
]
Name = Annotated[
    str, typer.Option(help="Name to release under; gan- and the data's name.", show_default=False)
]
Size = Annotated[int, typer.Option(help="Side of the picture in pixels: 16, 32 or 64.")]
ColorOption = Annotated[Color, color_flag()]
Noise = Annotated[int, typer.Option(help="Numbers that a picture is made from.")]
Maps = Annotated[
    int,
    typer.Option(
        help="Of the layers with the largest maps, in both networks; each smaller one has twice "
        "as many."
    ),
]
Conditional = Annotated[
    bool,
    typer.Option("--conditional", help="Tell the generator which class to draw."),
]
SpectralNorm = Annotated[
    bool,
    typer.Option(
        help="Hold the discriminator's layers by their spectral norm, instead of normalising its "
        "batches."
    ),
]
Mean = Annotated[
    float,
    typer.Option(
        help="Share of the running mean of the generator's weights that an update keeps; that "
        "mean is what is released."
    ),
]
Move = Annotated[
    int,
    typer.Option(
        help="Pixels by which the discriminator sees pictures moved, real and generated alike: "
        "where it knows few real ones by heart."
    ),
]
AugmentOption = Annotated[
    Augment,
    typer.Option(
        help="How training pictures are varied; what is drawn varies as much. auto: turns for "
        "boards, else none."
    ),
]
SkipBroken = Annotated[bool, skip_broken_flag()]
Features = Annotated[
    str,
    typer.Option(
        help="NAME or NAME@VERSION of a released classifier of pictures of this size, in whose "
        "feature space generated pictures are compared with real ones. Without: the newest that "
        "has learnt from the same pictures; where there is none, LeNet-5 is trained first.",
        show_default=False,
    ),
]
SamplesOption = Annotated[
    str,
    typer.Option(
        "--samples",
        help="Folder for a sheet of samples of each epoch, as PNG.",
        show_default=False,
    ),
]


@app.command()
@taking(
    GAN,
    without=(
        "batch_mode", "optimizer", "momentum", "schedule", "schedule_factor", "schedule_every",
        "warmup", "l1", "l2", "dropout", "refit", "clip_norm", "activation", "scaling",
        "class_weights", "devices", "arithmetic",
    ),
)  # fmt: skip
def gan(
    data: Data = "digits",
    name: Name = "",
    size: Size = 32,
    color: ColorOption = Color.auto,
    noise: Noise = 64,
    maps: Maps = 16,
    conditional: Conditional = False,
    spectral_norm: SpectralNorm = True,
    mean: Mean = 0.995,
    move: Move = 0,
    augment: AugmentOption = Augment.auto,
    skip_broken: SkipBroken = False,
    features: Features = "",
    samples: SamplesOption = "",
    if_missing: IfMissing = False,
    *,
    options: Callable[[], Options],
) -> None:
    """Train a generator of pictures (DCGAN) against a discriminator.

    Without options: the digits that come with scikit-learn, in a few minutes. The epoch whose
    pictures are nearest to real ones of the validation part is released, by the Fréchet distance
    in the feature space of a released classifier. Adam, with 0.5 for its first moment.

    [dim]glassline train gan[/dim]

    [dim]glassline train gan --conditional --name digits-told --samples sheets/[/dim]

    [dim]glassline train gan --data deeppcb:DeepPCB/ --conditional --maps 24[/dim]

    [dim]glassline train gan --data parts/ --size 64 --features resnet18-parts[/dim]
    """
    with one_message():
        settings = configuration.load()
        store = ModelStore(settings.root)
        name = name or name_of("gan", data)
        if if_missing and is_there(store, name):
            return
        chosen = options()
        check_name(name)
        with told_patience():
            from training import train_gan
        started = time.perf_counter()
        config = train_gan.Config(
            data=data, name=name, size=size, color=word_of(color), noise=noise, maps=maps,
            conditional=conditional, spectral_norm=spectral_norm, mean=mean, move=move,
            augment=word_of(augment), skip_broken=skip_broken, features=features, samples=samples,
            downloads=str(settings.root / "datasets"), options=chosen,
        )  # fmt: skip
        report(train_gan.main(config, store, out), time.perf_counter() - started)
