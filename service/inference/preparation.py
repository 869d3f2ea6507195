"""Between what callers send and what the graph takes, where the two are not the same.

Texts are numbered by the model's vocabulary; windows get their lengths and lose their gaps. The
same code prepares predictions, explanations, replays and the rows of a release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch
from service.inference.states import States
from service.inference.windows import interpolated
from service.manifest import SequenceMedia, TextMedia
from service.protocol.vocabulary import UNKNOWN, padded, read_vocabulary
from service.store import StoredModel
from service.tasks.generate import SEED

Arrays = Mapping[str, NDArray[Any]]
#: The output that says how many values of a row were gaps.
INTERPOLATED = "interpolated"


class Preparation(Protocol):
    """What becomes of the inputs of one model."""

    def admit(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """A caller's inputs, completed.

        Raises:
            TensorMismatch: nothing can be said about them.
        """

    def feed(self, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """What the graph takes, and outputs that are known without it.

        Raises:
            TensorMismatch: the graph cannot take them.
        """


def preparation_of(model: StoredModel) -> Preparation | None:
    """The preparation of a model's inputs; None where the graph takes them as they are sent.

    Raises:
        CorruptModel: its vocabulary is none.
    """
    if model.manifest.policy is not None:
        return States(model.manifest)
    media = model.manifest.media
    if model.manifest.task == "generate":
        return Noise(model)
    if isinstance(media, TextMedia):
        return Texts(model, media)
    return Windows(model, media) if isinstance(media, SequenceMedia) else None


class Texts:
    """Numbers the words of texts; see `TextMedia`."""

    def __init__(self, model: StoredModel, media: TextMedia) -> None:
        self._media = media
        self._where = f"{model.manifest.reference}: input '{media.input}'"
        path = model.asset(media.vocabulary)
        assert path is not None  # the manifest says so
        digest = model.manifest.assets[media.vocabulary].sha256
        self.vocabulary = read_vocabulary(path, digest)

    def admit(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Refuse texts without a word, or without one that is known; see `Preparation`."""
        for row, text in enumerate(inputs[self._media.input].reshape(-1)):
            numbers = self._numbers(text, row)
            if not numbers:
                self._refuse(row, "got a text without a word", "at least one", "Send some.")
            if set(numbers) == {UNKNOWN}:
                words = ", ".join(repr(word) for word in self.vocabulary.cut(_text(text))[:5])
                self._refuse(
                    row, f"got {words:.120}, words that the model has never seen",
                    "at least one that it knows",
                    "Send a text in the language and field that it was trained on.",
                )  # fmt: skip
        return dict(inputs)

    def feed(self, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Tokens and lengths; as they are where they are there already. See `Preparation`."""
        if self._media.input not in inputs:
            return inputs, {}
        texts = inputs[self._media.input].reshape(-1)
        tokens, lengths = padded([self._numbers(text, row) for row, text in enumerate(texts)])
        return {self._media.tokens: tokens, self._media.length: lengths}, {}

    def _numbers(self, text: Any, row: int) -> list[int]:
        numbers = self.vocabulary.numbers(_text(text))
        if len(numbers) > self._media.longest:
            self._refuse(
                row, f"got {len(numbers)} words", f"at most {self._media.longest}",
                "Send the text in parts.",
            )  # fmt: skip
        return numbers

    def _refuse(self, row: int, got: str, wanted: str, remedy: str) -> NoReturn:
        raise TensorMismatch(f"{self._where}, row {row}: {got}, wanted {wanted}. {remedy}")


class Noise:
    """Parts what the graph takes from the seed that it was drawn by; see `tasks.generate`."""

    def __init__(self, model: StoredModel) -> None:
        self._taken = frozenset(tensor.name for tensor in model.manifest.inputs)

    def admit(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """What was sent, as it is: what is lacking is drawn later. See `Preparation`."""
        return dict(inputs)

    def feed(self, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Noise and labels, and the seed as an output that is known. See `Preparation`."""
        taken = {name: array for name, array in inputs.items() if name in self._taken}
        return taken, {SEED: inputs[SEED]} if SEED in inputs else {}


class Windows:
    """Knows how long windows are, and fills their gaps; see `SequenceMedia`."""

    def __init__(self, model: StoredModel, media: SequenceMedia) -> None:
        self._media = media
        self._where = f"{model.manifest.reference}: input '{media.input}'"
        self._channels = model.manifest.inputs[0].features or ()
        self._fills = media.gaps == "interpolate"

    def admit(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Refuse windows that are too short or too long; all steps are real where none is said.

        See `Preparation`.
        """
        windows = inputs[self._media.input]
        given = inputs.get(self._media.length)
        lengths = np.full(len(windows), windows.shape[1], np.int64) if given is None else given
        self._check(windows, lengths)
        if self._fills:
            self._filled(windows, lengths)
        return {self._media.input: windows, self._media.length: lengths}

    def feed(self, inputs: Arrays) -> tuple[Arrays, Arrays]:
        """Windows without gaps, cut after the longest; see `Preparation`."""
        windows, lengths = inputs[self._media.input], inputs[self._media.length]
        if not 0 < lengths.min() <= lengths.max() <= windows.shape[1]:
            self._check(windows, lengths)
        windows = windows[:, : int(lengths.max())]
        known: dict[str, NDArray[Any]] = {}
        if self._fills:
            windows, known[INTERPOLATED] = self._filled(windows, lengths)
        return {self._media.input: windows, self._media.length: lengths}, known

    def _filled(
        self, windows: NDArray[Any], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        try:
            return interpolated(windows, lengths)
        except ValueError as error:
            row, channel = error.args
            name = repr(self._channels[channel]) if self._channels else str(channel)
            self._refuse(
                row, f"got no value at all in channel {name}", "at least one to interpolate from",
                "Send a window in which every channel was measured.",
            )  # fmt: skip

    def _check(self, windows: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        media, steps = self._media, windows.shape[1]
        for row, length in enumerate(lengths.tolist()):
            if not media.shortest <= length <= media.longest:
                self._refuse(
                    row, f"got {length} steps", f"{media.shortest} to {media.longest}",
                    "Send the last steps of a longer sequence.",
                )  # fmt: skip
            if length > steps:
                self._refuse(
                    row, f"got '{media.length}' {length} for a window of {steps} steps",
                    f"at most {steps}", "Count the steps that are no padding.",
                )  # fmt: skip

    def _refuse(self, row: int, got: str, wanted: str, remedy: str) -> NoReturn:
        raise TensorMismatch(f"{self._where}, row {row}: {got}, wanted {wanted}. {remedy}")


def _text(element: Any) -> str:
    return element.decode() if isinstance(element, bytes) else str(element)
