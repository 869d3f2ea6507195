"""Pairs of texts, source and target: two files, Multi30k's folder, or dates that are generated."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.errors import GlasslineError
from training.data import dates

#: Parts of Multi30k's folder, in the order training, validation, test.
MULTI30K = ("train", "val", "test_2016_flickr")
#: Share of the lines of two files that is held back, for validation and for the test each.
HELD_BACK = 0.05
#: Seed of which lines those are.
SPLIT_SEED = 20_240_601
Lines = tuple[tuple[str, ...], tuple[str, ...]]


class BadTexts(GlasslineError):
    """Nothing can be learnt from these texts."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Lines of source and target, line i of one belonging to line i of the other.

    Attributes:
        name: of the data, for people.
        sha256: of all lines, in their order.
        licence: as far as it is known.
        train, validation, test: source lines, target lines.
    """

    name: str
    sha256: str
    licence: str
    train: Lines
    validation: Lines
    test: Lines


def from_dates(count: int, seed: int) -> Pairs:
    """Dates as people write them in many languages, and the same by ISO 8601.

    Args:
        count: lines of the training part; a tenth as many are validated, and tested.
        seed: of the dates and of how each is written.
    """
    held = max(1, count // 10)
    sources, targets = dates.generate(count + 2 * held, seed)
    cuts = (slice(count), slice(count, count + held), slice(count + held, None))
    parts = [(tuple(sources[cut]), tuple(targets[cut])) for cut in cuts]
    return _pairs(f"dates in {len(dates.LOCALES)} locales", "generated; names of CLDR", parts)


def from_multi30k(folder: Path, source: str, target: str) -> Pairs:
    """Captions of pictures in several languages, in the parts that everybody reports on.

    Args:
        folder: with train, val and test_2016_flickr, each with the endings .LANGUAGE.gz.
        source, target: languages by their endings: en, de, fr.

    Raises:
        BadTexts: a file is missing or is none.

    Source: Elliott et al. 2016, arXiv:1605.00459.
    """
    parts = [
        _together(folder / f"{part}.{source}.gz", folder / f"{part}.{target}.gz")
        for part in MULTI30K
    ]
    licence = "see the dataset: research use, captions CC BY-NC-SA 4.0 as commonly stated"
    return _pairs(f"Multi30k {source}-{target}", licence, parts)


def from_files(source: Path, target: Path) -> Pairs:
    """Two text files, line i of one belonging to line i of the other; .gz is unpacked.

    Raises:
        BadTexts: a file cannot be read as UTF-8, has another number of lines than the other,
            an empty line, or too few.
    """
    sources, targets = _together(source, target)
    held = max(1, round(len(sources) * HELD_BACK))
    if len(sources) < 3 * held + 1 or len(sources) < 20:
        raise BadTexts(f"{source}: got {len(sources)} lines, wanted at least 20 to learn from.")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(sources))
    cuts = (order[2 * held :], order[:held], order[held : 2 * held])
    parts = [(tuple(sources[i] for i in rows), tuple(targets[i] for i in rows)) for rows in cuts]
    return _pairs(f"{source.name} to {target.name}", "the user's own", parts)


def _pairs(name: str, licence: str, parts: list[Lines]) -> Pairs:
    whole = hashlib.sha256()
    for lines in (lines for part in parts for lines in part):
        whole.update("".join(f"{line}\n" for line in lines).encode())
    return Pairs(name, whole.hexdigest(), licence, *parts)


def _together(source: Path, target: Path) -> Lines:
    sources, targets = _lines(source), _lines(target)
    if len(sources) != len(targets):
        raise BadTexts(
            f"{source} has {len(sources)} lines, {target} has {len(targets)}: wanted as many, "
            "line i of one belonging to line i of the other."
        )
    for path, lines in ((source, sources), (target, targets)):
        for number, line in enumerate(lines, start=1):
            if not line:
                raise BadTexts(f"{path}, line {number}: empty. Leave the pair out of both files.")
    return sources, targets


def _lines(path: Path) -> tuple[str, ...]:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadTexts(f"{path}: no such file.") from None
    except (OSError, EOFError) as error:
        raise BadTexts(f"{path}: cannot be read ({error}).") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadTexts(f"{path}, line {line}: no UTF-8. Convert the file to UTF-8.") from None
    # Not splitlines: it also splits at characters that stand inside a line of text.
    lines = text.removesuffix("\n").split("\n") if text else []
    return tuple(line.strip() for line in lines)
