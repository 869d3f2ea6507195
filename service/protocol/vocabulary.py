"""Texts to numbers: words cut out, and numbered by the vocabulary that the model was released with.

Training numbers its texts with this very class, so that training and serving cannot disagree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import CorruptModel

SCHEMA: Final = "glassline.vocabulary/1"
#: Numbers that are no word's: padding, and every word that the vocabulary does not hold.
PADDING, UNKNOWN = 0, 1
#: Number of the first word.
FIRST: Final = 2
#: Runs of letters and digits with inner apostrophes, or one sign.
_WORD: Final = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words by number: the first of `words` is number 2.

    Attributes:
        words: each once, as `cut` gives them.
        lower: whether texts are brought to lower case first.
    """

    words: tuple[str, ...]
    lower: bool = True
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the words.

        Raises:
            ValueError: one stands twice.
        """
        numbers = {word: number for number, word in enumerate(self.words, start=FIRST)}
        if len(numbers) != len(self.words):
            raise ValueError("a vocabulary holds each word once")
        object.__setattr__(self, "_numbers", numbers)

    @property
    def count(self) -> int:
        """Numbers there are: words, the unknown one and padding."""
        return len(self.words) + FIRST

    def cut(self, text: str) -> list[str]:
        """The words of a text, in NFC, in order."""
        text = unicodedata.normalize("NFC", text)
        return _WORD.findall(text.lower() if self.lower else text)

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's words; UNKNOWN for those that are not held."""
        known = self._numbers
        return [known.get(word, UNKNOWN) for word in self.cut(text)]

    def to_json(self) -> bytes:
        """What the asset holds: UTF-8 JSON, its schema's version first."""
        content = {"schema_version": SCHEMA, "tokenizer": "words", "lower": self.lower,
                   "words": list(self.words)}  # fmt: skip
        return orjson.dumps(content)

    @classmethod
    def of_json(cls, content: Any) -> Vocabulary:
        """What `to_json` wrote.

        Raises:
            ValueError: it is no vocabulary of this version.
        """
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA:
            raise ValueError(f"wanted an object of schema_version {SCHEMA}")
        words, lower = content.get("words"), content.get("lower")
        if content.get("tokenizer") != "words" or type(lower) is not bool:
            raise ValueError("wanted tokenizer 'words', and lower true or false")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("wanted words, a list of strings")
        return cls(tuple(words), lower)


def padded(numbers: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Texts of several lengths as one array; a text without a word is one unknown word.

    Args:
        numbers: of each text's words.

    Returns:
        tokens (n, L) with PADDING behind each end, L the longest's, and lengths (n,) from 1 to L.
    """
    texts = [one or [UNKNOWN] for one in numbers]
    lengths = np.array([len(one) for one in texts], np.int64)
    tokens = np.full((len(texts), int(lengths.max())), PADDING, np.int64)
    for row, one in enumerate(texts):
        tokens[row, : len(one)] = one
    return tokens, lengths


@lru_cache(maxsize=64)
def read_vocabulary(path: Path, _sha256: str) -> Vocabulary:
    """The vocabulary in a model's folder; its digest is its identity.

    Raises:
        CorruptModel: it is none.
    """
    try:
        return Vocabulary.of_json(orjson.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise CorruptModel(
            f"vocabulary {path.name}: cannot be read ({error}). Release the model again."
        ) from None
