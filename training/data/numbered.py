"""Pairs of texts as numbers of subwords, and the vocabulary that numbers them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.tasks.subwords import BEGIN, END, PAD, UNKNOWN, Subwords
from training.data.pairs import BadTexts, Lines


@dataclass(frozen=True, slots=True)
class Numbered:
    """Pairs as tokens, PAD behind each.

    Attributes:
        source: (n, S), END last.
        given: (n, T), BEGIN first.
        wanted: (n, T), END last.
        length: (n,), of the longer one of each pair.
    """

    source: Tensor
    given: Tensor
    wanted: Tensor
    length: NDArray[np.intp]


def vocabulary_of(lines: Lines, size: int) -> bytes:
    """A vocabulary of subwords of both languages, as sentencepiece writes it.

    Raises:
        BadTexts: the texts have not as many subwords, or more characters.

    Source: Kudo 2018, arXiv:1804.10959.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter([*lines[0], *lines[1]]), model_writer=model, vocab_size=size,
            model_type="unigram", character_coverage=1.0, num_threads=1, minloglevel=2,
            pad_id=PAD, unk_id=UNKNOWN, bos_id=BEGIN, eos_id=END,
        )  # fmt: skip
    except RuntimeError as error:
        raise BadTexts(
            f"--vocabulary: {size} subwords cannot be made of these texts "
            f"({str(error).splitlines()[-1].strip()}). Choose another number."
        ) from None
    return model.getvalue()


def numbered(lines: Lines, subwords: Subwords, max_length: int) -> Numbered:
    """Pairs as tokens; those with a text of more than `max_length` tokens are left out.

    Raises:
        BadTexts: none is left.
    """
    both = [[subwords.encode(text) for text in side] for side in lines]
    kept = [
        (source, target)
        for source, target in zip(*both, strict=True)
        if 0 < len(source) < max_length and 0 < len(target) < max_length
    ]
    if not kept:
        raise BadTexts(f"--max-length: no pair has at most {max_length} tokens. Raise it.")
    return Numbered(
        _padded([[*source, END] for source, _ in kept]),
        _padded([[BEGIN, *target] for _, target in kept]),
        _padded([[*target, END] for _, target in kept]),
        np.array([max(len(source), len(target)) for source, target in kept]),
    )


def _padded(rows: list[list[int]]) -> Tensor:
    return nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD
    )
