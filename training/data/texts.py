"""Texts with labels: a file a label, a line a text with its label, or a column of a table."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from service.errors import GlasslineError
from service.protocol.vocabulary import Vocabulary
from training.data.table_files import read_table
from training.options import WrongOption

#: Texts of each class, so that every part of the split has some.
FEWEST = 10
#: The split does not follow the training seed: accuracies of several seeds compare.
SPLIT_SEED = 20


class BadTexts(GlasslineError):
    """Texts that nothing can be learnt from as they are."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that were read: `truth` (n,) INT64 are indices of `labels`."""

    name: str
    sha256: str
    licence: str
    texts: tuple[str, ...]
    truth: NDArray[np.int64]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Which texts are for what: 80 % train, 10 % validation, 10 % test, by class."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def load(path: Path, text: str = "text", target: str | None = None) -> Texts:
    """Read texts.

    Args:
        path: a folder, each file of which holds the texts of one label, one a line (the label is
            what the names differ in: reviews.pos and reviews.neg, or good.txt and bad.txt); a
            .csv or .parquet table; or a file of lines `label<TAB>text`.
        text, target: columns of a table.

    Raises:
        WrongOption: there is no such file or column.
        BadTexts, BadFile: it cannot be read, or nothing can be learnt from it; the message says
            which line.
    """
    if path.is_dir():
        pairs, digest = _folder(path)
    elif not path.is_file():
        raise WrongOption(f"--data: '{path}' is neither a file nor a folder.")
    elif path.suffix in (".csv", ".parquet"):
        pairs, digest = _table(path, text, target)
    else:
        pairs, digest = _lines(path)
    labels = tuple(sorted({label for label, _ in pairs}))
    counts = Counter(label for label, _ in pairs)
    if len(labels) < 2 or min(counts.values()) < FEWEST:
        held = ", ".join(f"'{label}' ({counts[label]})" for label in labels[:10])
        raise BadTexts(
            f"'{path.name}': got texts of {held}, wanted at least two labels and {FEWEST} texts "
            "of each."
        )
    number = {label: at for at, label in enumerate(labels)}
    return Texts(
        name=path.name,
        sha256=digest,
        licence="the user's own",
        texts=tuple(one for _, one in pairs),
        truth=np.array([number[label] for label, _ in pairs], np.int64),
        labels=labels,
    )


def split(texts: Texts, seed: int = SPLIT_SEED) -> Split:
    """Which texts are for what; the same for every training seed."""
    rows = np.arange(len(texts.texts))
    rest, test = train_test_split(rows, test_size=0.1, stratify=texts.truth, random_state=seed)
    train, validation = train_test_split(
        rest, test_size=1 / 9, stratify=texts.truth[rest], random_state=seed
    )
    return Split(np.sort(train), np.sort(validation), np.sort(test))


def vocabulary_of(texts: Sequence[str], fewest: int) -> Vocabulary:
    """The words that come at least so often, the most frequent first.

    Raises:
        BadTexts: none does.
    """
    empty = Vocabulary(())
    counts = Counter(word for text in texts for word in empty.cut(text))
    words = sorted((word for word, n in counts.items() if n >= fewest),
                   key=lambda word: (-counts[word], word))  # fmt: skip
    if not words:
        raise BadTexts(f"no word comes {fewest} times in {len(texts)} texts. Lower --min-count.")
    return Vocabulary(tuple(words))


def _folder(path: Path) -> tuple[list[tuple[str, str]], str]:
    files = sorted(
        file for file in path.iterdir() if file.is_file() and file.suffix.lower() != ".md"
    )
    if len(files) < 2:
        raise BadTexts(f"'{path}': got {len(files)} files, wanted one a label, two at least.")
    by_suffix = len({file.stem for file in files}) == 1
    pairs, digest = [], hashlib.sha256()
    for file in files:
        body = _text(file)
        digest.update(body.encode())
        label = file.suffix.lstrip(".") if by_suffix else file.stem
        pairs += [(label, line.strip()) for line in body.splitlines() if line.strip()]
    return pairs, digest.hexdigest()


def _lines(path: Path) -> tuple[list[tuple[str, str]], str]:
    body = _text(path)
    pairs = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        label, found, text = line.partition("\t")
        if not found or not label.strip() or not text.strip():
            raise BadTexts(
                f"'{path.name}': line {number}: got {line!r:.60}, wanted a label, a tab and a text."
            )
        pairs.append((label.strip(), text.strip()))
    return pairs, hashlib.sha256(body.encode()).hexdigest()


def _table(path: Path, text: str, target: str | None) -> tuple[list[tuple[str, str]], str]:
    cells = read_table(path)
    for flag, name in (("--text", text), ("--target", target)):
        if name not in cells.columns:
            raise WrongOption(
                f"{flag}: '{path.name}' has no column {name!r}. It has {', '.join(cells.columns)}."
            )
    assert target is not None
    rows = zip(cells.columns[target], cells.columns[text], cells.lines, strict=True)
    pairs = []
    for label, said, line in rows:
        if not label or not said:
            empty = target if not label else text
            raise BadTexts(f"'{path.name}': line {line}: column '{empty}' is empty. Fill it.")
        pairs.append((label, said))
    return pairs, cells.sha256


def _text(file: Path) -> str:
    body = file.read_bytes()
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BadTexts(
            f"'{file.name}': line {line}: byte {error.start} is no UTF-8. Save the file as UTF-8."
        ) from None
