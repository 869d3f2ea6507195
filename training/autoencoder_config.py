"""What `glassline train autoencoder` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.autoencoder import Body, Coding
from training.augment import Variation
from training.autoencoder_losses import Reconstruction
from training.data.pictures import Color
from training.data.sequences import Gaps
from training.options import AUTOENCODER, Options, WrongOption

Kind = Literal["dense", "conv", "lstm", "sparse", "denoising", "vae"]
#: What encoder and decoder of a kind are made of, and what its code is.
KINDS: dict[Kind, tuple[Body, Coding]] = {
    "dense": ("dense", "plain"),
    "conv": ("conv", "plain"),
    "lstm": ("lstm", "plain"),
    "sparse": ("dense", "sparse"),
    "denoising": ("conv", "plain"),
    "vae": ("conv", "variational"),
}
#: Pictures of a larger side are read by convolutions alone, patch by patch.
LARGE = 96
#: Kinds that can do so.
OF_LARGE = ("conv", "denoising")


@dataclass(frozen=True, slots=True)
class Config:
    """All of it; recorded in the manifest.

    Attributes:
        kind: see `KINDS`.
        data: see `one_class_sources.load`.
        name: of the model.
        normal: the class that is normal; "" = that of the source.
        size, color: what a picture is decoded to; None = what suits.
        skip_broken: leave broken pictures of a folder out.
        augment: variation of training pictures.
        loss: of the reconstruction; None = cross-entropy of large pictures, else l2. A `vae` has
            its likelihood.
        latent: length of the code.
        units: maps of the first convolution, or units of a layer.
        active, sparsity: of `sparse`: how much a unit is on, on average, and the weight of it.
        scores: those that make the one that is answered; () = all that suit but `level`
            and `shift`.
        anneal: of `vae`: epochs over which its divergence comes to count in full.
        patch: side of the patches of a large picture, in pixels.
        smooth: deviation of the Gaussian that the error map of a picture is smoothed with, in
            pixels; None = 8 of large ones, 1 of others.
        window, stride: steps of a window, and between the ends of two.
        label, sequence, time, drop: columns of a table; see `stream_file.load`.
        gaps: what becomes of gaps in training.
        budget: rate of false alarms that the threshold is for.
        events_per_hour, rows_per_hour: the budget by the hour; 0 = `budget` counts.
        evt: whether the threshold comes from a fitted tail.
        downloads: folder of torchvision's sets.
        options: shared by all scripts.
    """

    kind: Kind = "conv"
    data: str = "digits"
    name: str = "conv-autoencoder-digits"
    normal: str = ""
    size: int | None = None
    color: Color | None = None
    skip_broken: bool = False
    augment: Variation = "none"
    loss: Reconstruction | None = None
    latent: int = 16
    units: int = 32
    active: float = 0.1
    sparsity: float = 0.01
    scores: tuple[str, ...] = ()
    anneal: int = 10
    patch: int = 128
    smooth: float | None = None
    window: int = 30
    stride: int = 1
    label: str = ""
    sequence: str = ""
    time: str = ""
    drop: tuple[str, ...] = ()
    gaps: Gaps = "refuse"
    budget: float = 0.05
    events_per_hour: float = 0.0
    rows_per_hour: float = 0.0
    evt: bool = False
    downloads: str = "datasets"
    options: Options = AUTOENCODER

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise WrongOption(f"--kind: got {self.kind!r}, wanted one of {', '.join(KINDS)}.")
        if self.kind == "vae" and self.loss is not None:
            raise WrongOption(
                f"--loss: got {self.loss}, but a vae has its own, its likelihood. Leave it out."
            )
        if bool(self.events_per_hour) != bool(self.rows_per_hour):
            raise WrongOption(
                "--events-per-hour, --rows-per-hour: got one of them, wanted both: how many false "
                "alarms an hour may have, and how many rows it has."
            )
        if self.events_per_hour and self.events_per_hour >= self.rows_per_hour:
            raise WrongOption(
                f"--events-per-hour: got {self.events_per_hour:g}, wanted less than the "
                f"{self.rows_per_hour:g} of --rows-per-hour."
            )

    @property
    def body(self) -> Body:
        return KINDS[self.kind][0]

    @property
    def coding(self) -> Coding:
        return KINDS[self.kind][1]

    def judged(self, large: bool) -> Reconstruction:
        """What a reconstruction is judged by in training."""
        return self.loss or ("cross-entropy" if large else "l2")

    def is_large(self, shape: tuple[int, ...]) -> bool:
        """Whether rows of this shape are read patch by patch."""
        return len(shape) == 3 and max(shape[1:]) > LARGE

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse what cannot be done with rows of a shape.

        Raises:
            WrongOption: an option does not suit them.
        """
        pictures = len(shape) == 3
        if pictures and self.kind == "lstm":
            raise WrongOption(
                "--kind: lstm reads windows of sensor values. Take conv for pictures."
            )
        if not pictures and self.loss not in (None, "l2"):
            raise WrongOption(
                f"--loss: got {self.loss}, which is of pictures. Leave it out for windows."
            )
        if not pictures and self.augment != "none":
            raise WrongOption(
                f"--augment: got {self.augment}, which is of pictures. Leave it out for windows."
            )
        if self.is_large(shape) and self.kind not in OF_LARGE:
            raise WrongOption(
                f"--kind: got {self.kind}, whose code is one vector of the whole picture: it can "
                f"hold {LARGE} x {LARGE} pixels, not {shape[2]} x {shape[1]}. Take denoising or "
                f"conv, or --size {LARGE // 2}."
            )
        if pictures and not self.is_large(shape) and min(shape[1:]) < 16:
            raise WrongOption(f"--size: got {min(shape[1:])}, wanted at least 16 pixels.")
        if not pictures and shape[0] < 4:
            raise WrongOption(f"--window: got {shape[0]} steps, wanted at least 4.")
