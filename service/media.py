"""How what callers send becomes what the graph takes: a part of the manifest, one class a kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from service.manifest import Tensor


class Part(BaseModel):
    """A part of the manifest: frozen, without unknown fields and without NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageMedia(Part):
    """How a bare image body becomes the input tensor: decoding only, no arithmetic.

    The picture is brought to `color` (L = 8-bit grey, RGB = 8-bit colour), fitted to
    `width` x `height` pixels as `fit` says, and laid out channels first, UINT8. Scaling
    and normalisation are inside the graph.
    """

    kind: Literal["image"] = "image"
    input: str
    color: Literal["L", "RGB"]
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    #: stretch: resize both sides; cover: resize the short side, then crop the centre; exact: a
    #: picture of another size or colour mode is refused, for models that judge fine structure.
    fit: Literal["stretch", "cover", "exact"] = "stretch"

    def check(self, inputs: Sequence[Tensor], assets: Collection[str]) -> None:
        """Refuse inputs that pictures do not fit, with ValueError."""
        _ = assets
        channels = {"L": 1, "RGB": 3}[self.color]
        wanted = (channels, self.height, self.width)
        tensor = next((t for t in inputs if t.name == self.input), None)
        if tensor is None or tensor.datatype != "UINT8" or tensor.shape[1:] != wanted:
            raise ValueError(
                f"media decodes to UINT8 {wanted} for input '{self.input}', "
                f"but the inputs are {_listed(inputs)}"
            )


class TextMedia(Part):
    """How a text becomes what the graph takes: words cut out and numbered by the vocabulary.

    Callers send `input`, BYTES (-1,). The graph itself takes `tokens` INT64 (n, L), padded,
    and `length` INT64 (n,). A text of more than `longest` words is refused.
    """

    kind: Literal["text"] = "text"
    input: str
    #: role of the asset that holds it
    vocabulary: str = "vocabulary"
    tokens: str = "tokens"
    length: str = "length"
    longest: int = Field(default=1024, gt=0)

    def check(self, inputs: Sequence[Tensor], assets: Collection[str]) -> None:
        """Refuse inputs that are no texts, and a missing vocabulary, with ValueError."""
        _only_texts(self.input, self.vocabulary, inputs, assets)


class SubwordMedia(Part):
    """How texts become what the graphs of a translation take, and what comes out texts again.

    Callers send `input`, BYTES (-1,). A text is cut into at most `longest` subwords, its answer
    has at most `longest_answer`, the end counted.
    """

    kind: Literal["subwords"] = "subwords"
    input: str
    #: role of the asset that holds them, a sentencepiece model
    vocabulary: str = "vocabulary"
    longest: int = Field(gt=0)
    longest_answer: int = Field(gt=0)

    def check(self, inputs: Sequence[Tensor], assets: Collection[str]) -> None:
        """Refuse inputs that are no texts, and a missing vocabulary, with ValueError."""
        _only_texts(self.input, self.vocabulary, inputs, assets)


class SequenceMedia(Part):
    """What windows of a sequence may be: how long, and with gaps or without.

    Callers send `input`, FP32 or FP64 (-1, -1, channels), padded to one extent with anything, and
    `length` INT64 (-1,), the steps of each window that are real; without it all of them are.

    `gaps` says what becomes of a value that is not there (NaN; null in JSON; an empty field in
    CSV): `refuse`, or `interpolate` along the channel, linearly between its neighbours in time
    and with the nearest value at the ends. The answer then has the output `interpolated`, how
    many values of each row were.
    """

    kind: Literal["sequence"] = "sequence"
    input: str
    length: str = "length"
    shortest: int = Field(default=1, gt=0)
    longest: int = Field(gt=0)
    gaps: Literal["refuse", "interpolate"] = "refuse"

    def check(self, inputs: Sequence[Tensor], assets: Collection[str]) -> None:
        """Refuse inputs that are no windows and their lengths, with ValueError."""
        _ = assets
        wanted = [(self.input, 3), (self.length, 1)]
        got = [(tensor.name, len(tensor.shape)) for tensor in inputs]
        if got != wanted or inputs[0].datatype not in ("FP32", "FP64") or (
            inputs[1].datatype != "INT64" or inputs[0].shape[1] != -1
        ):  # fmt: skip
            raise ValueError(
                f"media takes windows as input '{self.input}', FP32 or FP64 (-1, -1, channels), "
                f"and '{self.length}', INT64 (-1,), but the inputs are {_listed(inputs)}"
            )
        if self.shortest > self.longest:
            raise ValueError(f"windows of {self.shortest} to {self.longest} steps: there are none")


def _only_texts(
    name: str, vocabulary: str, inputs: Sequence[Tensor], assets: Collection[str]
) -> None:
    tensor = inputs[0]
    if len(inputs) != 1 or (tensor.name, tensor.datatype) != (name, "BYTES"):
        raise ValueError(
            f"media takes texts as the only input '{name}', BYTES, "
            f"but the inputs are {_listed(inputs)}"
        )
    if vocabulary not in assets:
        raise ValueError(f"media needs the asset '{vocabulary}', its vocabulary")


def _listed(inputs: Sequence[Tensor]) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(one.name, one.datatype, one.shape) for one in inputs]
