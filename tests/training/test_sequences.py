"""Where sequences and texts come from; what is wrong in people's files is named by its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.errors import GlasslineError
from tests.running_server import REPOSITORY
from training.data import cmapss, japanese_vowels, series_file, texts
from training.data.sequences import BadSequences, Sequences, forecast, split, without_gaps
from training.data.windows import Cut, windows_of
from training.options import WrongOption

ENGINES = REPOSITORY.parent / "shared" / "data" / "cmapss"
REVIEWS = REPOSITORY.parent / "shared" / "data" / "rt-polarity"


def written(folder: Path, body: str, name: str = "runs.csv") -> Path:
    path = folder / name
    path.write_text(body)
    return path


def runs(count: int = 25, steps: int = 6) -> Sequences:
    """Runs of one channel that counts from 10 times the run's number; truth is what is left."""
    return Sequences(
        name="runs", sha256="0" * 64, licence="none", task="regress", channels=("a",),
        series=tuple(
            np.arange(10 * run, 10 * run + steps, dtype=np.float32)[:, np.newaxis]
            for run in range(count)
        ),
        truth=tuple(np.arange(steps, 0, -1.0)[:, np.newaxis] for _ in range(count)),
        ids=tuple(str(run) for run in range(count)), targets=("left",),
    )  # fmt: skip


def test_the_bundled_utterances_are_those_of_the_source() -> None:
    vowels = japanese_vowels.load()  # refuses any others by their digest
    assert vowels.tested is not None
    assert (int((~vowels.tested).sum()), int(vowels.tested.sum())) == (270, 370)
    assert {len(one) for one in vowels.series} <= set(range(7, 30))
    assert vowels.steady
    parts = split(vowels)
    assert set(parts.test) == set(np.flatnonzero(vowels.tested))
    assert [len(parts.train), len(parts.held_out)] == [229, 41]


def test_lines_are_put_together_by_sequence_and_time(tmp_path: Path) -> None:
    body = "id,time,a,b,y\nq,2,3,30,1\np,1,9,,2\nq,1,2,20,1\nq,2026,4,40,1\n"
    got = series_file.load(written(tmp_path, body), "y", "regress")
    assert got.ids == ("q", "p")
    assert got.channels == ("a", "b")
    assert got.series[0].tolist() == [[2, 20], [3, 30], [4, 40]]
    assert np.isnan(got.series[1][0, 1])
    body = "run;at;a;y\nq;2026-01-01T10:00:00;1;good\nq;2026-01-01T09:00:00;2;bad\n"
    got = series_file.load(written(tmp_path, body), "y", sequence="run", time="at")
    assert got.labels == ("bad", "good")
    assert got.series[0][:, 0].tolist() == [2, 1]
    assert got.truth[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("body", "target", "words"),
    [
        ("id,time,a,y\nq,1,2,1\n", None, "--target: which column"),
        ("id,time,a,y\nq,1,2,1\n", "z", "has no column 'z'"),
        ("id,at,a,y\nq,1,2,1\n", "y", "--time: 'runs.csv' has no column 'time'"),
        ("id,time,a,y\nq,1,2,1\nq,1,3,1\n", "y", "lines 2 and 3: sequence 'q' has the time '1'"),
        ("id,time,a,y\n,1,2,1\n", "y", "line 2: column 'id' is empty"),
        ("id,time,a,y\nq,soon,2,1\n", "y", "line 2, column 'time': got 'soon'"),
        ("id,time,a,y\nq,inf,2,1\n", "y", "column 'time': got 'inf'"),
        ("id,time,a,y\nq,1,hot,1\n", "y", "line 2, column 'a': got 'hot'"),
        ("id,time,a,y\nq,1,1e99,1\n", "y", "line 2, column 'a': got '1e99'"),
        ("id,time,a,y\nq,1,,1\nq,2,,1\n", "y", "column 'a' is empty in every line"),
        ("id,time,a,y\nq,1,2,\nq,2,2,1\n", "y", "line 2: target 'y' is empty"),
        ("id,time,a,y\nq,1,2,one\nq,2,2,one\n", "y", "'one' in every line"),
        ("id,time,y\nq,1,2\n", "y", "no channels are left"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    tmp_path: Path, body: str, target: str | None, words: str
) -> None:
    with pytest.raises(GlasslineError) as refused:
        series_file.load(written(tmp_path, body), target)
    assert words in str(refused.value)


def test_windows_end_at_every_stride_and_never_cross_a_sequence() -> None:
    cut = Cut(longest=3, shortest=2, stride=2)
    got = windows_of(runs(2), np.array([0, 1]), cut)
    assert got.owners.tolist() == [0, 0, 0, 1, 1, 1]
    assert got.lengths.tolist() == [2, 3, 3, 2, 3, 3]
    assert got.values[1, :, 0].tolist() == [1, 2, 3]
    assert got.values[5, :, 0].tolist() == [13, 14, 15]
    assert got.last[:, 0].tolist() == [5, 3, 1, 5, 3, 1]
    whole = windows_of(runs(2), np.array([1]), Cut())
    assert whole.values[0, :, 0].tolist() == [10, 11, 12, 13, 14, 15]
    with pytest.raises(BadSequences, match="none of 2 sequences has a window of at least 7 steps"):
        windows_of(runs(2), np.array([0, 1]), Cut(longest=9, shortest=7))


def test_a_forecast_is_what_comes_next_and_nothing_of_what_is_not_known() -> None:
    ahead = forecast(runs(1), "a", 2)
    assert ahead.targets == ("a +1", "a +2")
    assert ahead.truth[0][0].tolist() == [1, 2]
    assert ahead.truth[0][3].tolist() == [4, 5]
    assert np.isnan(ahead.truth[0][4]).tolist() == [False, True]
    windows = windows_of(ahead, np.array([0]), Cut(longest=3, shortest=1))
    assert not np.isnan(windows.last).any()
    with pytest.raises(WrongOption, match="'b', wanted a channel to forecast: a"):
        forecast(runs(1), "b", 2)
    with pytest.raises(BadSequences, match="no sequence is longer than the horizon of 6"):
        forecast(runs(1), "a", 6)


def test_parts_share_no_sequence_and_need_enough_of_them() -> None:
    parts = split(runs(25))
    assert sorted([*parts.train, *parts.held_out, *parts.test]) == list(range(25))
    assert [len(parts.train), len(parts.held_out), len(parts.test)] == [15, 5, 5]
    assert split(runs(25)).test.tolist() == parts.test.tolist()
    with pytest.raises(BadSequences, match="got 7 sequences, wanted at least 20"):
        split(runs(7))


def test_gaps_are_refused_or_filled_as_in_serving() -> None:
    holey = runs(1)
    holey.series[0][2] = np.nan
    with pytest.raises(BadSequences, match="channel 'a' has a gap at step 2"):
        without_gaps(holey, "refuse")
    assert without_gaps(holey, "interpolate").series[0][:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_the_score_of_the_challenge_by_hand() -> None:
    # 13 cycles early cost e - 1, 10 cycles late as much, a hit nothing.
    predicted, true = np.array([37.0, 60, 7]), np.array([50.0, 50, 7])
    assert cmapss.phm_score(predicted, true) == pytest.approx(2 * (np.e - 1))


def test_engines_run_to_failure_and_are_held_at_the_cap() -> None:
    if not ENGINES.is_dir():
        pytest.skip(f"NO DATA: C-MAPSS is not at {ENGINES}")
    engines = cmapss.load(ENGINES)
    assert engines.tested is not None
    assert (int((~engines.tested).sum()), int(engines.tested.sum())) == (100, 100)
    assert sum(len(one) for one, test in zip(engines.series, engines.tested, strict=True)
               if not test) == 20_631  # fmt: skip
    first = engines.truth[0][:, 0]
    assert [first[0], first[-1]] == [125, 0]
    assert engines.truth[100][-1, 0] == 112  # RUL_FD001.txt, line 1
    assert "s1" not in engines.channels  # it never changes
    parts = split(engines)
    assert not {*parts.train, *parts.held_out} & set(np.flatnonzero(engines.tested))


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "1 2 3", "train_FD001.txt")
    with pytest.raises(WrongOption, match="lacks test_FD001.txt, RUL_FD001.txt"):
        cmapss.load(tmp_path)


def test_texts_come_as_folder_as_lines_and_as_table(tmp_path: Path) -> None:
    folder = tmp_path / "said"
    folder.mkdir()
    written(folder, "fine\n\nquite fine\n" * 5, "talk.pos")
    written(folder, "poor\n" * 10, "talk.neg")
    got = texts.load(folder)
    assert got.labels == ("neg", "pos")
    assert got.texts[10] == "fine"
    lines = written(tmp_path, "good\tfine\n" * 10 + "bad\tpoor, \tvery\n" * 10, "said.tsv")
    got = texts.load(lines)
    assert got.texts[10] == "poor, \tvery"
    assert got.truth.tolist() == [1] * 10 + [0] * 10
    table = written(tmp_path, "said,is\n" + 'fine,good\n"poor, very",bad\n' * 10, "said.csv")
    assert texts.load(table, "said", "is").texts[1] == "poor, very"


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("said.txt", b"good\tfine\nno label here\n", "line 2: got 'no label here'"),
        ("said.txt", b"good\tfine\nbad\tcaf\xe9\n", "line 2: byte 17 is no UTF-8"),
        ("said.txt", b"good\tfine\n" * 10 + b"bad\tpoor\n" * 9, "got texts of 'bad' (9), 'good'"),
        ("said.csv", b"text,y\nfine,\n", "line 2: column 'y' is empty"),
        ("said.csv", b"words,y\nfine,good\n", "--text: 'said.csv' has no column 'text'"),
    ],
)
def test_what_is_wrong_in_texts_is_named(
    tmp_path: Path, name: str, body: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(GlasslineError) as refused:
        texts.load(tmp_path / name, target="y")
    assert words in str(refused.value)


def test_the_most_frequent_words_come_first_and_rare_ones_are_unknown() -> None:
    known = texts.vocabulary_of(["the cat", "the dog", "a cat , the"], 2)
    assert known.words == ("the", "cat")
    with pytest.raises(texts.BadTexts, match="no word comes 9 times"):
        texts.vocabulary_of(["the cat"], 9)


def test_reviews_are_read_whole() -> None:
    if not REVIEWS.is_dir():
        pytest.skip(f"NO DATA: the reviews are not at {REVIEWS}")
    reviews = texts.load(REVIEWS)
    assert reviews.labels == ("neg", "pos")
    assert np.bincount(reviews.truth).tolist() == [5331, 5331]
    parts = texts.split(reviews)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [8528, 1067, 1067]
