"""A released translator through ONNX Runtime: greedy, beams, scores, refusals."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from service.errors import CorruptModel, TensorMismatch, Unavailable
from service.inference.translator import CHOSEN, Translator
from service.store import StoredModel
from service.tasks.beam import penalty
from service.tasks.subwords import BEGIN, END, Subwords
from service.tasks.translate import Asked
from tests.small_translator import SOURCES, TARGETS, release_small_translator


@pytest.fixture(scope="module", params=["gru-luong", "lstm-bahdanau"])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    cell, attention = request.param.split("-")
    return release_small_translator(tmp_path_factory.mktemp("home"), cell, cell, attention)


@pytest.fixture(scope="module")
def translator(stored: StoredModel) -> Translator:
    return Translator(stored)


def translated(translator: Translator, *texts: str, **asked: Any) -> dict[str, Any]:
    column = {translator.input: np.array(texts, dtype=object)}
    return translator.run({**column, **Asked(**asked).columns(len(texts))})


def test_a_beam_of_one_is_a_plain_greedy_loop(stored: StoredModel, translator: Translator) -> None:
    """The loop is written here, on ONNX Runtime and nothing of ours."""
    encoder, step = (
        ort.InferenceSession(str(stored.graph(role)), providers=["CPUExecutionProvider"])
        for role in ("encode", "step")
    )
    path = stored.asset("vocabulary")
    assert path is not None
    words = Subwords(path.read_bytes(), "small")
    for text in (*SOURCES, "dog", "blue fox", "runs the dog red a"):
        tokens = np.array([[*words.encode(text), END]])
        length = np.array([tokens.shape[1]])
        memory, keys, state = encoder.run(None, {"tokens": tokens, "length": length})
        written: list[int] = []
        token = BEGIN
        while len(written) < translator.longest_answer and token != END:
            feed = {"token": np.array([token]), "state": state, "memory": memory, "keys": keys,
                    "length": length}  # fmt: skip
            said, state, _ = step.run(None, feed)
            said[0, [0, BEGIN]] = -np.inf
            token = int(said[0].argmax())
            written.append(token)
        got = translated(translator, text, beam_width=1)
        assert got["token_numbers"][0, 0].tolist() == written
        assert got["text"][0, 0] == words.decode(written)


def test_it_knows_its_texts_alone_and_together(translator: Translator) -> None:
    together = translated(translator, *SOURCES)
    assert together["text"][:, 0].tolist() == list(TARGETS)
    for row, text in enumerate(SOURCES):
        alone = translated(translator, text)
        assert alone["text"][0, 0] == TARGETS[row]
        assert alone["score"][0, 0] == pytest.approx(together["score"][row, 0], abs=1e-5)


def test_a_wider_beam_never_scores_worse_here(translator: Translator) -> None:
    for text in (*SOURCES, "blue dog runs", "red"):
        scores = [
            float(translated(translator, text, beam_width=width)["score"][0, 0])
            for width in (1, 4, 16)
        ]
        assert scores[0] <= scores[1] + 1e-6
        assert scores[1] <= scores[2] + 1e-6


def test_the_score_of_a_chosen_translation_is_the_one_it_was_found_with(
    translator: Translator,
) -> None:
    got = translated(translator, "the red fox", length_penalty=1.0)
    chosen = got["token_numbers"][:, 0]
    texts = np.array(["the red fox", "the blue fox", ""], dtype=object)
    columns = Asked(length_penalty=1.0).columns(3)
    scores = translator.run(
        {translator.input: texts, **columns, CHOSEN: np.repeat(chosen, 3, axis=0)}
    )["score"]
    assert scores.shape == (3, 1)
    assert scores[0, 0] == pytest.approx(float(got["score"][0, 0]), abs=1e-5)
    assert scores[0, 0] > scores[1, 0], "a translation of another text is less probable"
    assert np.isfinite(scores).all(), "a text of which nothing is left has a score too"
    assert penalty(chosen.shape[1], 1.0) > 1


def test_the_same_request_has_the_same_bits(translator: Translator) -> None:
    first, second = (translated(translator, *SOURCES, attention=True, n_best=3) for _ in range(2))
    for name, values in first.items():
        assert values.tobytes() == second[name].tobytes() or values.tolist() == (
            second[name].tolist()
        )


def test_texts_that_cannot_be_translated_are_refused(translator: Translator) -> None:
    for text, message in ((" ", "row 1: got an empty text"), ("fox " * 30, "at most 23")):
        with pytest.raises(TensorMismatch, match=message):
            translator.admit({translator.input: np.array(["the fox", text], dtype=object)})


def test_a_server_without_sentencepiece_says_what_is_missing(
    stored: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(Unavailable, match="pip install sentencepiece"):
        Translator(stored)


def test_a_damaged_vocabulary_is_refused() -> None:
    with pytest.raises(CorruptModel, match="vocabulary cannot be read"):
        Subwords(b"not a model", "small@1")
