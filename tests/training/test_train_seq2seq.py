"""`glassline train seq2seq`: it learns, is released as it is, and refuses what it should."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from rich.console import Console
from typer.testing import CliRunner

from models.seq2seq import BEGIN, END, PAD, Seq2Seq, Seq2SeqConfig
from service.errors import ReleaseRefused
from service.inference.translator import Translator
from service.store import ModelStore
from service.tasks.subwords import Subwords
from tests.small_translator import LONGEST, SOURCES, TARGETS, VOCABULARY, small_candidate
from training import train_seq2seq, translator_parity, translator_release
from training.commands import app
from training.data.numbered import numbered, vocabulary_of
from training.data.pairs import BadTexts
from training.lessons import one_thread
from training.options import SEQ2SEQ
from training.train_seq2seq import Config, Taught, loss_of, token_accuracy
from training.translation_figures import figures, signature
from training.translator_release import export_graphs, release_translator

QUIET = Console(file=io.StringIO())
WORDS = ("eins zwei drei vier fünf sechs", "one two three four five six")


def files(folder: Path, lines: int = 300) -> tuple[Path, Path]:
    """Numbers, in one language and in another."""
    random = np.random.default_rng(0)
    chosen = [random.integers(0, 6, random.integers(1, 4)) for _ in range(lines)]
    for name, words in zip(("de", "en"), WORDS, strict=True):
        known = words.split()
        text = "".join(" ".join(known[i] for i in one) + "\n" for one in chosen)
        (folder / name).write_text(text)
    return folder / "de", folder / "en"


@pytest.mark.slow
def test_it_learns_to_translate_numbers(tmp_path: Path) -> None:
    source, target = files(tmp_path)
    options = dataclasses.replace(
        SEQ2SEQ, epochs=25, batch_size=16, learning_rate=0.01, dropout=0.0, device="cpu"
    )
    config = Config(
        data="files", source=str(source), target=str(target), units=24, embedding=16,
        vocabulary=34, max_length=24, name="numbers", options=options,
    )  # fmt: skip
    stored = train_seq2seq.main(config, ModelStore(tmp_path / "home"), QUIET)
    manifest = stored.manifest
    assert manifest.metrics["exact_match"] >= 0.9
    assert set(manifest.metrics) == {
        "bleu", "bleu_greedy", "exact_match", "exact_match_greedy", "test_rows",
    }  # fmt: skip
    assert "sacreBLEU" in str(manifest.provenance.data["bleu"])
    assert manifest.parity.label_flips == 0
    assert "at most 23 subwords" in manifest.card
    again = train_seq2seq.main(config, ModelStore(tmp_path / "again"), QUIET)
    assert again.manifest.graphs == manifest.graphs, "the same seed gives the same weights"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
def test_graphs_of_every_kind_are_the_network_at_any_length(
    cell: str, attention: str, tmp_path: Path
) -> None:
    """Random weights, two layers, lengths from nothing to far beyond the exported 7."""
    torch.manual_seed(0)
    network = Seq2Seq(
        Seq2SeqConfig(VOCABULARY, cell, attention, units=10, embedding=6, layers=2)  # type: ignore[arg-type]
    ).eval()
    export_graphs(network, tmp_path)
    graphs = translator_parity._Graphs(network, tmp_path / "encode.onnx", tmp_path / "step.onnx")
    random = np.random.default_rng(0)
    for rows, width, longest in ((1, 1, 1), (1, 8, 40), (17, 5, 30), (3, 3, 9)):
        tokens = [[*random.integers(4, VOCABULARY, random.integers(0, longest)), END]
                  for _ in range(rows)]  # fmt: skip
        with torch.inference_mode(), one_thread():
            graphs.compare(tokens, width, 12)
    assert 0 < graphs.furthest < 1e-5, graphs.where


def test_a_graph_of_another_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = small_candidate()
    torch.manual_seed(9)
    other = Seq2Seq(candidate.network.config).eval()
    monkeypatch.setattr(
        translator_release, "export_graphs", lambda _, folder: export_graphs(other, folder)
    )
    with pytest.raises(ReleaseRefused, match="off, allowed is 1e-05"):
        release_translator(candidate, ModelStore(tmp_path))
    assert ModelStore(tmp_path).names() == []


def test_an_output_bias_that_is_off_is_found_by_its_tokens(tmp_path: Path) -> None:
    """Small enough a change that only the step graph can know."""
    candidate = small_candidate()
    stored = release_translator(candidate, ModelStore(tmp_path))
    with torch.no_grad():
        candidate.network.bias[END] += 3.0
    with pytest.raises(ReleaseRefused, match="step: log_probabilities"):
        translator_parity.check(
            "small", candidate.network, Translator(stored), stored.graph("encode"),
            stored.graph("step"), SOURCES,
        )  # fmt: skip


def test_pairs_are_numbered_with_begin_and_end() -> None:
    subwords = Subwords(vocabulary_of((SOURCES, TARGETS), VOCABULARY), "x")
    some = numbered((SOURCES, TARGETS), subwords, LONGEST)
    assert (some.given[:, 0] == BEGIN).all()
    for row in range(len(SOURCES)):
        source = some.source[row][some.source[row] != PAD].tolist()
        wanted = some.wanted[row][some.wanted[row] != PAD].tolist()
        assert source == [*subwords.encode(SOURCES[row]), END]
        assert wanted == [*subwords.encode(TARGETS[row]), END]
        assert some.given[row, 1 : len(wanted)].tolist() == wanted[:-1]
    with pytest.raises(BadTexts, match="--max-length"):
        numbered((SOURCES, TARGETS), subwords, 2)
    with pytest.raises(BadTexts, match="--vocabulary: 4000 subwords cannot be made"):
        vocabulary_of((SOURCES, TARGETS), 4000)


def test_label_smoothing_leaves_some_probability_to_all_others() -> None:
    """Worked by hand: 4 tokens, the right one twice as probable as each other."""
    logits = torch.log(torch.tensor([[[0.4, 0.2, 0.2, 0.2]]]))
    wanted = torch.tensor([[1]])
    plain = -np.log(0.2)
    assert float(loss_of(0.0)(logits, wanted)) == pytest.approx(plain)
    mean = -(np.log(0.4) + 3 * np.log(0.2)) / 4
    assert float(loss_of(0.1)(logits, wanted)) == pytest.approx(0.9 * plain + 0.1 * mean)
    padded = torch.cat([logits, logits], dim=1)
    both = torch.tensor([[1, PAD]])
    assert float(loss_of(0.0)(padded, both)) == pytest.approx(plain), "padding costs nothing"
    assert float(token_accuracy(padded, both)) == 0


def test_the_share_of_own_tokens_grows_from_nothing() -> None:
    given: list[float] = []

    class Told(Seq2Seq):
        def forward(self, source: Any, target: Any, sampled: float = 0.0) -> Any:
            given.append(sampled)
            return super().forward(source, target, sampled)

    taught = Taught(Told(Seq2SeqConfig(8, units=4, embedding=4)), 0.5, 4)
    source, target = torch.tensor([[5, END, PAD]]), torch.tensor([[BEGIN, 4]])
    for _ in range(4):
        taught.train()(source, target)
    taught.eval()(source, target)
    assert given == [0.125, 0.25, 0.375, 0.5, 0.0]
    assert int(taught.state_dict()["done"]) == 4, "a checkpoint knows how far it was"


def test_figures_are_those_of_sacrebleu() -> None:
    texts, wanted = (
        ["Der rote Fuchs rennt weg .", "Ein Hund"],
        ["Der rote Fuchs rennt.", "Ein Hund"],
    )
    got = figures(texts, wanted, bleu=True)
    assert got["exact_match"] == 0.5
    assert got["bleu"] == pytest.approx(sacrebleu.corpus_bleu(texts, [wanted]).score)
    assert set(figures(texts, wanted, bleu=False)) == {"exact_match"}
    assert "tok:13a" in signature()
    assert "case:mixed" in signature()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "a"], "--target: got none with --source"),
        (["--data", "multi30k/"], "--source: got none with --data"),
        (["--label-smoothing", "1"], "--label-smoothing: got 1"),
        (["--scheduled-sampling", "2"], "--scheduled-sampling: got 2"),
        (["--units", "0"], "--units: got 0"),
        (["--lines", "3"], "--lines: got 3"),
        (["--clip-norm", "-1"], "--clip-norm: got -1"),
        (["--name", "Dates"], "--name"),
    ],
)
def test_wrong_usage_ends_with_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSLINE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["seq2seq", *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.output + result.stderr
