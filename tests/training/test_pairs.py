"""Pairs of texts: files, folders, and dates that are generated."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import pytest
from babel.dates import format_date

from tests.running_server import REPOSITORY
from training.data import dates, pairs
from training.data.pairs import BadTexts

MULTI30K = REPOSITORY.parent / "shared/data/multi30k"


def test_dates_hang_on_their_seed_alone() -> None:
    assert dates.generate(50, 3) == dates.generate(50, 3)
    assert dates.generate(50, 3) != dates.generate(50, 4)


def test_dates_are_written_as_cldr_says() -> None:
    day = datetime.date(2025, 3, 4)
    assert dates.written(day, "en_US", "long") == "March 4, 2025"
    assert dates.written(day, "de", "full") == "Dienstag, 4. März 2025"
    assert dates.written(day, "ja", "medium") == "2025/03/04"
    for locale in dates.LOCALES:
        assert dates.written(day, locale, "full") == format_date(day, "full", locale=locale)


def test_no_text_means_two_days() -> None:
    """Of every day of a year, in every language and form."""
    known: dict[str, datetime.date] = {}
    first = datetime.date(2024, 1, 1)
    for offset in range(366):
        day = first + datetime.timedelta(days=offset)
        for locale in dates.LOCALES:
            for form in dates.FORMS:
                text = dates.written(day, locale, form)
                assert known.setdefault(text, day) == day, (text, locale, form)


def test_parts_of_dates_do_not_overlap_by_line() -> None:
    data = pairs.from_dates(200, 0)
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [200, 20, 20]
    assert all(datetime.date.fromisoformat(target) for target in data.test[1])


def test_files_are_split_by_line_the_same_each_time(tmp_path: Path) -> None:
    source, target = tmp_path / "a.de", tmp_path / "b.en.gz"
    source.write_text("".join(f"zeile {i}\n" for i in range(100)))
    target.write_bytes(gzip.compress("".join(f"line {i}\n" for i in range(100)).encode()))
    data = pairs.from_files(source, target)
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [90, 5, 5]
    for part in (data.train, data.validation, data.test):
        for left, right in zip(*part, strict=True):
            assert left.split()[1] == right.split()[1]
    assert len({*data.train[0], *data.validation[0], *data.test[0]}) == 100
    assert pairs.from_files(source, target) == data


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (b"a\n" * 30, b"b\n" * 29, "has 30 lines, .* has 29"),
        (b"a\n" * 10 + b"\n" + b"a\n" * 20, b"b\n" * 31, "line 11: empty"),
        (b"a\n\xff\n" + b"a\n" * 30, b"b\n" * 32, "line 2: no UTF-8"),
        (b"a\n" * 5, b"b\n" * 5, "at least 20"),
        (b"", b"", "at least 20"),
        (None, b"b\n" * 30, "no such file"),
    ],
)
def test_files_that_teach_nothing_are_refused(
    tmp_path: Path, source: bytes | None, target: bytes, message: str
) -> None:
    for name, content in (("source", source), ("target", target)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(BadTexts, match=message):
        pairs.from_files(tmp_path / "source", tmp_path / "target")


def test_a_file_that_is_no_gzip_is_refused(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        (tmp_path / name).write_bytes(b"plain")
    with pytest.raises(BadTexts, match="cannot be read"):
        pairs.from_files(tmp_path / "a.gz", tmp_path / "b.gz")


@pytest.mark.skipif(not MULTI30K.is_dir(), reason=f"NOT TESTED: {MULTI30K} is not there")
def test_multi30k_comes_in_the_parts_that_everybody_reports_on() -> None:
    data = pairs.from_multi30k(MULTI30K, "en", "de")
    assert [len(part[0]) for part in (data.train, data.validation, data.test)] == [
        29000,
        1014,
        1000,
    ]
    assert data.test[0][0] == "A man in an orange hat starring at something."
    assert data.test[1][0] == "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt."
    with pytest.raises(BadTexts, match="no such file"):
        pairs.from_multi30k(MULTI30K, "en", "xx")
