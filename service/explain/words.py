"""A text cut into words, and the texts with some of the words hidden."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidParameter

#: What upstream puts for a hidden word where order counts.
MASK = "UNKWORDZ"
#: Characters composed at a time, so that a block stays in the processor's cache.
_BLOCK_CHARACTERS = 1 << 19


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text: what can be hidden.

    `names` are the words; `spans` where each stands, as [start, stop) in characters, more than
    once where a bag of words has it more than once.
    """

    text: str
    names: tuple[str, ...]
    spans: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, text: str, split_expression: str, bag: bool) -> Words:
        """Cut a text as upstream's `IndexedString` does.

        Args:
            text: any.
            split_expression: regular expression of what stands between words.
            bag: equal words are one; else each is one of its own.

        Raises:
            InvalidParameter: `split_expression` is no regular expression, or captures.
        Source: lime 0.2.0.1, lime_text.py.
        """
        try:
            splitter = re.compile(rf"({split_expression})|$")
        except re.error as error:
            raise InvalidParameter(
                f"parameter 'split_expression': got {split_expression!r}, which is no regular "
                rf"expression ({error}). Upstream's is '\W+'."
            ) from None
        if splitter.groups > 1:
            # Upstream then writes what a group caught a second time into every text.
            raise InvalidParameter(
                f"parameter 'split_expression': got {split_expression!r}, wanted an expression "
                "without groups that capture. Write (?:...) for (...)."
            )
        spans: list[list[tuple[int, int]]] = []
        names: list[str] = []
        known: dict[str, int] = {}
        start = 0
        for piece in splitter.split(text):
            if not piece:
                continue
            stop = start + len(piece)
            # Upstream's words pass through numpy, which drops null characters at their ends.
            word = piece.rstrip("\0")
            if not splitter.match(word):
                at = known.setdefault(word, len(names)) if bag else len(names)
                if at == len(names):
                    names.append(word)
                    spans.append([])
                spans[at].append((start, stop))
            start = stop
        return cls(text, tuple(names), tuple(tuple(one) for one in spans))


class Hider:
    """Writes the text with some words hidden, many at a time.

    All characters that any of the texts can hold stand in one template, each with its owner:
    a word, nobody, or the absence of a word. A row of the mask then picks its characters, in
    one step for a block of rows.

    Args:
        words: of the text.
        mask: what stands in place of a hidden word; "" = nothing.
    """

    def __init__(self, words: Words, mask: str) -> None:
        count = len(words.names)
        always, absent = count, count + 1
        parts: list[str] = []
        owners: list[NDArray[np.intp]] = []

        def add(part: str, owner: int) -> None:
            parts.append(part)
            owners.append(np.full(len(part), owner, np.intp))

        places = sorted((span, word) for word, spans in enumerate(words.spans) for span in spans)
        end = 0
        for (start, stop), word in places:
            add(words.text[end:start], always)
            add(words.text[start:stop], word)
            add(mask, absent + word)
            end = stop
        add(words.text[end:], always)
        template = "".join(parts)
        narrow = template.isascii()
        self._encoding = "latin-1" if narrow else "utf-32-le"
        self._codes = np.frombuffer(
            template.encode(self._encoding, "surrogatepass"),
            np.uint8 if narrow else np.dtype("<u4"),
        )
        self._owner = np.concatenate(owners)
        # Bytes of a text: those that always stand, and what each word shown adds.
        sizes = np.bincount(self._owner, minlength=absent + count) * float(self._codes.itemsize)
        self._always = sizes[always] + sizes[absent:].sum()
        self._added = sizes[:count] - sizes[absent:]
        self._masked = bool(mask)
        self._block = max(1, _BLOCK_CHARACTERS // max(1, len(template)))

    def texts(self, shown: NDArray[np.uint8]) -> list[str]:
        """The texts of some mask rows: (n, D), 1 = shown."""
        texts: list[str] = []
        for start in range(0, len(shown), self._block):
            texts += self._texts(shown[start : start + self._block])
        return texts

    def _texts(self, shown: NDArray[np.uint8]) -> list[str]:
        columns = [shown, np.ones((len(shown), 1), np.uint8)]
        if self._masked:
            columns.append(1 - shown)
        keep = np.take(np.concatenate(columns, axis=1).view(bool), self._owner, axis=1)
        codes = np.broadcast_to(self._codes, keep.shape)[keep].tobytes()
        # Whole numbers below 2⁵³, so the sums are exact.
        stops = (self._always + shown @ self._added).cumsum().astype(np.int64).tolist()
        encoding, start, texts = self._encoding, 0, []
        for stop in stops:
            texts.append(codes[start:stop].decode(encoding, "surrogatepass"))
            start = stop
        return texts
