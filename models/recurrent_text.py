"""Recurrent networks on texts, whose words have been numbered, with a bag of words beside them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.recurrent import Pool, RecurrentConfig, States, within

#: Two numbers of words, multiplied by these and added, are the number of the pair.
_LEFT, _RIGHT = 31_337, 7_919


@dataclass(frozen=True, slots=True)
class Words:
    """What a text network knows of its words.

    Attributes:
        count: numbers that words have, from 0; 0 is padding, 1 the unknown word.
        width: of a word's vector.
        dropped: share of each word's vector that is left out in training.
        pairs: numbers that pairs of neighbours are hashed to; 0 = the network has no bag.
    """

    count: int
    width: int = 100
    dropped: float = 0.5
    pairs: int = 2**16


class Bag(nn.Module):
    """Adds up a score a word and a score a pair of neighbours, whatever their order.

    Input: tokens (n, L) INT64, lengths (n,). Output (n, outputs).
    Source: Wang and Manning 2012, "Baselines and bigrams", ACL; the hashing of pairs: Weinberger
    et al. 2009, arXiv:0902.2206.
    """

    def __init__(self, words: Words, outputs: int) -> None:
        super().__init__()
        self.pairs = words.pairs
        self.alone = nn.Embedding(words.count, outputs)
        self.together = nn.Embedding(words.pairs, outputs)
        nn.init.zeros_(self.alone.weight)
        nn.init.zeros_(self.together.weight)

    def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
        real = within(tokens.unsqueeze(-1), length)
        alone: Tensor = (self.alone(tokens) * real).sum(dim=1)
        pairs = pair_numbers(tokens, self.pairs)
        # Each is in the place of its second word; the first word has none before it.
        together: Tensor = (self.together(pairs) * real[:, 1:]).sum(dim=1)
        return alone + together


class TextNetwork(nn.Module):
    """A recurrent network on numbered words, with a bag of words and pairs beside it.

    Input: tokens (n, L) INT64, length (n,) INT64 from 1 to L. Output (n, config.outputs) logits.
    """

    def __init__(self, words: Words, config: RecurrentConfig) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words.count, words.width, padding_idx=0)
        nn.init.normal_(self.vectors.weight, std=0.1)
        self.dropped = nn.Dropout(words.dropped)
        self.states = States(words.width, config)
        self.pool = Pool(config)
        self.answer = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(self.pool.width, config.outputs)
        )
        self.bag = Bag(words, config.outputs) if words.pairs else None

    def forward(self, tokens: Tensor, length: Tensor) -> Tensor:
        states = self.states(self.dropped(self.vectors(tokens)), length)
        logits: Tensor = self.answer(self.pool(states, length))
        return logits if self.bag is None else logits + self.bag(tokens, length)


def pair_numbers(tokens: Tensor, pairs: int) -> Tensor:
    """Numbers, 0 to pairs - 1, of each word together with the next: (n, L) to (n, L - 1)."""
    return (tokens[:, :-1] * _LEFT + tokens[:, 1:] * _RIGHT) % pairs
