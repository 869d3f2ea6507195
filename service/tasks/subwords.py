"""Texts as numbers of subwords and back, by a sentencepiece model: an asset of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.errors import CorruptModel, Unavailable

#: Numbers of the tokens that are no text.
PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3


class Subwords:
    """A vocabulary of subwords.

    Args:
        content: the serialised sentencepiece model.
        reference: of the model that it belongs to, for messages.

    Raises:
        Unavailable: sentencepiece is not installed.
        CorruptModel: this is no such model, or its special tokens have other numbers.

    Source: Kudo and Richardson 2018, arXiv:1808.06226.
    """

    def __init__(self, content: bytes, reference: str) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise Unavailable(
                f"{reference}: its vocabulary needs the package sentencepiece, which is not "
                "installed. Install it with: pip install sentencepiece"
            ) from None
        self._processor: Any = SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(content)
        except (RuntimeError, ValueError) as error:
            raise CorruptModel(f"{reference}: its vocabulary cannot be read: {error}") from None
        known = self._processor
        special = (known.pad_id(), known.unk_id(), known.bos_id(), known.eos_id())
        if special != (PAD, UNKNOWN, BEGIN, END):
            raise CorruptModel(
                f"{reference}: its vocabulary numbers padding, unknown, begin and end {special}, "
                f"wanted {(PAD, UNKNOWN, BEGIN, END)}. Train and release it again."
            )

    def __len__(self) -> int:
        return int(self._processor.GetPieceSize())

    def encode(self, text: str) -> list[int]:
        """Numbers of the subwords of a text, without begin and end; none of an empty one."""
        numbers: list[int] = self._processor.EncodeAsIds(text)
        return numbers

    def decode(self, tokens: Sequence[int]) -> str:
        """The text that these subwords make; special tokens are left out."""
        text: str = self._processor.DecodeIds(
            [int(t) for t in tokens if t not in (PAD, BEGIN, END)]
        )
        return text

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """The subwords as they are written, a word's first one with a low line before it."""
        return [self._processor.IdToPiece(int(token)) for token in tokens]
