"""`glassline train autoencoder`: its flags, and what its words mean."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from service import settings as configuration
from service.store import ModelStore
from training.command_words import Gaps, flag, name_from, several, word_of
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
from training.options import AUTOENCODER, Options, taking
from training.picture_words import Color, color_flag, skip_broken_flag

_PICTURES, _SERIES, _BUDGET = "Pictures", "Windows of sensor values", "False alarms"


class KindName(StrEnum):
    """Kinds of autoencoders."""

    dense = "dense"
    conv = "conv"
    lstm = "lstm"
    sparse = "sparse"
    denoising = "denoising"
    vae = "vae"


class LossName(StrEnum):
    """What a reconstruction is judged by in training."""

    auto = "auto"
    l2 = "l2"
    ssim = "ssim"
    combined = "combined"
    cross_entropy = "cross-entropy"


class VariationName(StrEnum):
    """How training pictures are varied."""

    none = "none"
    affine = "affine"
    crop_flip = "crop-flip"
    turns = "turns"


Kind = Annotated[
    KindName,
    flag(
        "dense: affine layers; conv: convolutions; lstm: of windows alone; sparse: dense, with a "
        "code few units of which are on; denoising: conv, taught to undo damage; vae: conv, with "
        "a normal distribution as code."
    ),
]
Data = Annotated[
    str,
    flag(
        "What is normal, and anomalies to test on where there are some. Pictures: digits; "
        "deeppcb:FOLDER, templates of whole boards; a FOLDER of good pictures, or with subfolders, "
        "one of them good; a set that torchvision knows. Windows: power-demand (inside sktime); a "
        "CSV or Parquet file, a line a step."
    ),
]
Normal = Annotated[
    str,
    flag("Class that is normal; digits: 0, power-demand: winter, a folder: good.",
         show_default=False),
]  # fmt: skip
Name = Annotated[
    str, flag("Name to release under; the kind's and the data's name.", show_default=False)
]
Loss = Annotated[
    LossName,
    flag(
        "Of pictures: squared error, 1 - SSIM, both, or cross-entropy for two tones; auto: "
        "cross-entropy of pictures over 96 pixels, else l2. A vae has its likelihood.", "Network",
    ),
]  # fmt: skip
Latent = Annotated[int, flag("Length of the code.", "Network", min=1, max=4096)]
Units = Annotated[
    int, flag("Maps of the first convolution, units of an LSTM.", "Network", min=2, max=1024)
]
Active = Annotated[
    float, flag("sparse: how much a unit is on, on average.", "Network", min=0.001, max=0.5)
]
Sparsity = Annotated[float, flag("sparse: weight of that in the loss.", "Network", min=0)]
Anneal = Annotated[int, flag("vae: epochs until its divergence counts in full.", "Network", min=0)]
Scores = Annotated[
    str,
    flag(
        "Scores that make the one that is answered, by commas: pixel, ssim, multiscale of "
        "pictures; worst, peak of large ones; window, last, level, shift of windows; mahalanobis; "
        "elbo of a vae. None = all that suit but level and shift.", "Network", show_default=False,
    ),
]  # fmt: skip
Size = Annotated[
    int, flag("Side in pixels; 0 = what suits. Over 96: patch by patch.", _PICTURES, min=0)
]
ColorOption = Annotated[Color, color_flag(_PICTURES)]
SkipBroken = Annotated[bool, skip_broken_flag(_PICTURES)]
Augment = Annotated[VariationName, flag("How training pictures are varied.", _PICTURES)]
Patch = Annotated[
    int, flag("Side of the patches of a large picture, in pixels.", _PICTURES, min=32, max=512)
]
Smooth = Annotated[
    float,
    flag("Deviation of the Gaussian over the error map, in pixels; -1 = what suits.", _PICTURES,
         min=-1, max=64),
]  # fmt: skip
Window = Annotated[int, flag("Steps of a window.", _SERIES, min=4, max=4096)]
Stride = Annotated[int, flag("Steps between the ends of two windows.", _SERIES, min=1)]
Label = Annotated[
    str,
    flag("Column that says which steps are anomalies, 0 or 1; none = no step is.", _SERIES,
         show_default=False),
]  # fmt: skip
SequenceColumn = Annotated[
    str,
    flag("Column that says which stream a line is of; none = one stream.", _SERIES,
         show_default=False),
]  # fmt: skip
TimeColumn = Annotated[
    str,
    flag("Column that orders the lines; none = they are in order.", _SERIES, "--time",
         show_default=False),
]  # fmt: skip
Drop = Annotated[str, flag("Columns to leave out, by commas.", _SERIES, show_default=False)]
GapsOption = Annotated[
    Gaps, flag("What becomes of gaps in training; a served window has none.", _SERIES)
]
Budget = Annotated[
    float,
    flag("Share of normal rows that may be called anomalies.", _BUDGET, min=1e-6, max=0.5),
]
Events = Annotated[
    float,
    flag("The same by the hour: false alarms; with --rows-per-hour, instead of --budget.",
         _BUDGET, min=0),
]  # fmt: skip
RowsPerHour = Annotated[float, flag("Rows an hour has.", _BUDGET, min=0)]
Evt = Annotated[
    bool,
    flag("Threshold from a fitted tail: an order of magnitude, for few rows.", _BUDGET, "--evt"),
]


@app.command()
@taking(AUTOENCODER, without=("scaling", "class_weights", "refit"))
def autoencoder(
    kind: Kind = KindName.conv,
    data: Data = "digits",
    normal: Normal = "",
    loss: Loss = LossName.auto,
    latent: Latent = 16,
    units: Units = 32,
    active: Active = 0.1,
    sparsity: Sparsity = 0.01,
    anneal: Anneal = 10,
    scores: Scores = "",
    size: Size = 0,
    color: ColorOption = Color.auto,
    skip_broken: SkipBroken = False,
    augment: Augment = VariationName.none,
    patch: Patch = 128,
    smooth: Smooth = -1.0,
    window: Window = 30,
    stride: Stride = 1,
    label: Label = "",
    sequence: SequenceColumn = "",
    time_column: TimeColumn = "",
    drop: Drop = "",
    gaps: GapsOption = Gaps.refuse,
    budget: Budget = 0.05,
    events_per_hour: Events = 0.0,
    rows_per_hour: RowsPerHour = 0.0,
    evt: Evt = False,
    name: Name = "",
    if_missing: IfMissing = False,
    *,
    options: Callable[[], Options],
) -> None:
    """Train a detector on what is normal: what it cannot reconstruct is an anomaly.

    No anomaly is needed to train it or to set its threshold, which comes from normal rows that
    training never saw. Without options: a 0 is normal, every other digit an anomaly.

    [dim]glassline train autoencoder --kind vae --normal 8[/dim]

    [dim]glassline train autoencoder --data parts/ --size 64 --augment turns --budget 0.02[/dim]

    [dim]glassline train autoencoder --kind denoising --data deeppcb:DeepPCB --epochs 40[/dim]

    [dim]glassline train autoencoder --kind lstm --data power-demand[/dim]

    [dim]glassline train autoencoder --data pump.csv --time datetime --label anomaly --window 60
    --events-per-hour 1 --rows-per-hour 3600[/dim]
    """
    with one_message():
        settings = configuration.load()
        store = ModelStore(settings.root)
        name = name or name_of(kind.value, data)
        check_name(name)
        if if_missing and is_there(store, name):
            return
        chosen = options()
        # Torch's older exporter tells of shapes that it does not infer; the gate looks at them.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        with told_patience():
            from training import autoencoder_config, train_autoencoder
        started = time.perf_counter()
        config = autoencoder_config.Config(
            kind=kind.value, data=data, name=name, normal=normal, size=size or None,
            color=word_of(color), skip_broken=skip_broken, augment=augment.value,
            loss=word_of(loss), latent=latent, units=units, active=active, sparsity=sparsity,
            scores=several(scores), anneal=anneal, patch=patch,
            smooth=None if smooth < 0 else smooth, window=window, stride=stride, label=label,
            sequence=sequence, time=time_column, drop=several(drop), gaps=gaps.value,
            budget=budget, events_per_hour=events_per_hour, rows_per_hour=rows_per_hour, evt=evt,
            downloads=str(settings.root / "datasets"), options=chosen,
        )  # fmt: skip
        report(train_autoencoder.main(config, store, out), time.perf_counter() - started)


def name_of(kind: str, data: str) -> str:
    """The name that such a model has where none is given: vae-digits, conv-pump."""
    known, colon, _ = data.partition(":")
    word = known if colon and known == "deeppcb" else Path(data).resolve().stem
    return name_from(kind, word)
