"""Two graphs that translate: one reads the source, one writes a token at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import TensorMismatch
from service.inference.devices import Device
from service.inference.session import Session, warm_session
from service.store import StoredModel
from service.tasks.beam import Hypothesis, penalty, search
from service.tasks.subwords import BEGIN, END, PAD, Subwords
from service.tasks.translate import Asked, longest_translation, stacked

#: Name of the column that says whose score is asked for.
CHOSEN = "chosen"
#: What is translated to get warm.
_WARM_WORDS = "a b c d e f g h"


class Translator:
    """Stands where other models have their `Session`: texts in, translations out.

    Args:
        model: a stored, verified model of the task `translate`.
        device, threads, gpu: see `Session`; 0 threads = one, as its steps are small.

    Raises:
        CorruptModel: ONNX Runtime cannot load a graph, or the vocabulary is none.
        Unavailable: `cuda` was demanded and is not to be had, or sentencepiece is missing.
    """

    #: A request is a batch by itself already: its beams. Joined ones would wait for the longest.
    batch_gain = 1.0
    #: Nothing is made of the inputs before `run`, which cuts the texts itself.
    preparation = None

    def __init__(
        self, model: StoredModel, device: Device = "cpu", threads: int = 0, gpu: int = 0
    ) -> None:
        manifest = model.manifest
        assert manifest.subwords is not None  # the manifest says so
        self.reference = manifest.reference
        self._media = manifest.subwords
        #: tokens of a translation, END counted
        self.longest_answer = longest_translation(manifest)
        vocabulary = model.asset(self._media.vocabulary)
        assert vocabulary is not None
        self.subwords = Subwords(vocabulary.read_bytes(), self.reference)
        self._encoder = Session(model, "encode", device, threads or 1, gpu)
        self._step = Session(model, "step", device, threads or 1, gpu)
        self.threads = self._step.threads
        self.provider = self._step.provider
        self.fallback = self._step.fallback
        self.runtime_version = self._step.runtime_version
        self.output_names = [tensor.name for tensor in manifest.outputs]
        #: seconds of a short text at warm-up
        self.row_seconds = 0.0

    @property
    def input(self) -> str:
        """Name of the texts among the inputs."""
        return self._media.input

    def warm_up(self) -> None:
        """Translate until the allocator is warm."""
        text = {self._media.input: np.array([_WARM_WORDS], dtype=object)}
        for _ in range(2):
            start = time.perf_counter()
            self.run({**text, **Asked(max_length=min(8, self.longest_answer)).columns(1)})
            self.row_seconds = time.perf_counter() - start

    def admit(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """A caller's texts, if they can be translated.

        Raises:
            TensorMismatch: one is empty, or too long.
        """
        for row, text in enumerate(inputs[self._media.input].reshape(-1)):
            self._check(row, self.subwords.encode(_text(text)))
        return dict(inputs)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Translate texts.

        Args:
            inputs: the texts (n,), and the columns of `Asked`, or none for the usual ones. With
                CHOSEN, the tokens (n, T) of one and the same translation, nothing is searched.

        Returns:
            `text`, `score`, `tokens`, `source_tokens`, and `attention` if it was asked for; see
            `translate.outputs_of`. What stands behind the end of a row is "" or 0. With CHOSEN
            the `score` (n, 1) alone that the translation has for each text; an empty one is
            read as nothing but its end.

        Raises:
            TensorMismatch: a text is too long.
        """
        if CHOSEN in inputs:
            score = self._scored(inputs[self._media.input], inputs[CHOSEN][0], inputs)
            return {"score": score[:, None].astype(np.float32)}
        asked = Asked.of_columns(inputs)
        source = _Source(self, self._numbered(inputs[self._media.input]))
        found = search(
            source, len(source.tokens), asked.beam_width, asked.length_penalty,
            min(asked.max_length or self.longest_answer, self.longest_answer), asked.n_best,
        )  # fmt: skip
        return self._answer(source, found, asked)

    def _scored(
        self, texts: NDArray[Any], tokens: NDArray[np.int64], inputs: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        source = _Source(self, self._numbered(texts))
        state, row = source.first_state, np.arange(len(texts))
        total, last = np.zeros(len(texts)), BEGIN
        for token in tokens.tolist():
            step, state, _ = source.step(np.full(len(texts), last, np.int64), state, row)
            total += step[:, token].astype(np.float64)
            last = token
        return total / penalty(len(tokens), Asked.of_columns(inputs).length_penalty)

    def _numbered(self, texts: NDArray[Any]) -> list[list[int]]:
        numbered = [self.subwords.encode(_text(text)) for text in texts.reshape(-1)]
        for row, numbers in enumerate(numbered):
            if len(numbers) > self._media.longest:
                self._check(row, numbers)
        return [[*numbers, END] for numbers in numbered]

    def _check(self, row: int, numbers: Sequence[int]) -> None:
        where = f"{self.reference}: input '{self._media.input}', row {row}"
        if not numbers:
            raise TensorMismatch(f"{where}: got an empty text, wanted one to translate. Send some.")
        if len(numbers) > self._media.longest:
            raise TensorMismatch(
                f"{where}: got a text of {len(numbers)} tokens, wanted at most "
                f"{self._media.longest}. Send it in parts, a sentence a row."
            )

    def _answer(
        self, source: _Source, found: Sequence[Sequence[Hypothesis]], asked: Asked
    ) -> dict[str, NDArray[Any]]:
        pieces = self.subwords.pieces
        read = [[np.array(pieces(tokens), dtype=object)] for tokens in source.tokens]
        answer = {
            "text": stacked(
                [[_word(self.subwords.decode(one.tokens)) for one in row] for row in found], "",
                object,
            ),
            "score": stacked(
                [[np.array(one.score) for one in row] for row in found],
                np.finfo(np.float32).min, np.float32,
            ),
            "tokens": stacked(
                [[np.array(pieces(one.tokens), dtype=object) for one in row] for row in found],
                "", object,
            ),
            "token_numbers": stacked(
                [[np.array(one.tokens, np.int64) for one in row] for row in found], PAD, np.int64
            ),
            "source_tokens": stacked(read, "", object)[:, 0],
        }  # fmt: skip
        if asked.attention:
            # A row's attention ends where its source does.
            answer["attention"] = stacked(
                [
                    [np.stack(one.attention)[:, : len(source.tokens[at])] for one in row]
                    for at, row in enumerate(found)
                ],
                0.0, np.float32,
            )  # fmt: skip
        return answer


class _Source:
    """Texts that have been read; makes the steps of their translations."""

    def __init__(self, translator: Translator, tokens: list[list[int]]) -> None:
        self.tokens = tokens
        self._step = translator._step
        self._length = np.array([len(numbers) for numbers in tokens], np.int64)
        padded = np.full((len(tokens), int(self._length.max())), PAD, np.int64)
        for row, numbers in enumerate(tokens):
            padded[row, : len(numbers)] = numbers
        read = translator._encoder.run({"tokens": padded, "length": self._length})
        self._memory, self._keys = read["memory"], read["keys"]
        self.first_state: NDArray[np.float32] = read["state"]
        self._row: NDArray[np.intp] | None = None
        self._repeated: dict[str, NDArray[Any]] = {}

    def step(
        self, token: NDArray[np.int64], state: NDArray[np.float32], row: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """See `beam.Stepper.step`."""
        if self._row is None or not np.array_equal(row, self._row):
            # Hypotheses stay with their source: its memory is laid out again only when some end.
            self._row = row
            self._repeated = {
                "memory": self._memory[row], "keys": self._keys[row], "length": self._length[row],
            }  # fmt: skip
        made = self._step.run({"token": token, "state": state, **self._repeated})
        return made["log_probabilities"], made["next_state"], made["attention"]


def warm(
    model: StoredModel, device: Device, threads: int = 0, gpu: int = 0
) -> Session | Translator:
    """What runs a model, after it has run; see `warm_session`."""
    if model.manifest.task != "translate":
        return warm_session(model, device, threads, gpu)
    translator = Translator(model, device, threads, gpu)
    translator.warm_up()
    return translator


def _text(element: Any) -> str:
    return element.decode() if isinstance(element, bytes) else str(element)


def _word(text: str) -> NDArray[Any]:
    """A text as an array without axes."""
    return np.array(text, dtype=object)
