"""Transfer learning: a network that has learnt from other pictures, with a new last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Body:
    """A pretrained network without its last layer, as a chain.

    Attributes:
        pixels: raw pixels (n, 3, S, S), 0 to 255, to what the network was trained on.
        blocks: from the first layers to the last, maps to maps; each is tuned as a whole.
        pool: what the last block gives to (n, features).
        features: width of what the last layer takes.
    """

    pixels: nn.Module
    blocks: tuple[nn.Module, ...]
    pool: nn.Module
    features: int


class Tail(nn.Module):
    """The last blocks and the last layer: what is trained.

    Input: what the block before gives, or pixels in network units. Output (n, classes), logits.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], pool: nn.Module, head: nn.Module, norms: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.pool = pool
        self.head = head
        self.norms = norms

    def train(self, mode: bool = True) -> Tail:
        """Batch norms keep the statistics they came with, unless `norms` says otherwise.

        Those of a few pictures are worse than those of a million.
        """
        super().train(mode)
        if not self.norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, seen: Tensor) -> Tensor:
        for block in self.blocks:
            seen = block(seen)
        logits: Tensor = self.head(self.pool(seen))
        return logits

    def rates(self, decay: float) -> dict[str, float]:
        """Share of the learning rate by parameter: 1 of the last layer, `decay` of the block
        before it, its square of the one before that, and so on.

        Source: Howard and Ruder 2018, arXiv:1801.06146, sec. 3.2, "discriminative fine-tuning".
        """
        last = len(self.blocks)
        shares = {}
        for name, _ in self.named_parameters():
            room, _, rest = name.partition(".")
            depth = last - int(rest.partition(".")[0]) if room == "blocks" else 0
            shares[name] = decay**depth
        return shares


class Transferred(nn.Module):
    """A pretrained network with a last layer for other classes.

    Input (n, 3, S, S), UINT8 or float, 0 to 255. Output (n, classes), logits.

    Args:
        body: where it comes from.
        classes: number of logits.
        tuned: blocks that are trained besides the last layer, counted from the end; the others
            are frozen: no gradient, no dropout, their batch norms as they are.
        dropout: share of the features that an update leaves out.
        norms: whether batch norms of tuned blocks take statistics of the new pictures.

    Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?",
    arXiv:1411.1792.
    """

    def __init__(
        self, body: Body, classes: int, tuned: int, dropout: float = 0.0, norms: bool = False
    ) -> None:
        super().__init__()
        kept = len(body.blocks) - tuned
        self.pixels = body.pixels
        self.frozen = nn.Sequential(*body.blocks[:kept]).requires_grad_(False)
        head = nn.Sequential(nn.Dropout(dropout), nn.Linear(body.features, classes))
        self.tail = Tail(body.blocks[kept:], body.pool, head, norms)

    def train(self, mode: bool = True) -> Transferred:
        """Frozen blocks never leave evaluation."""
        super().train(mode)
        self.frozen.eval()
        return self

    def maps(self, image: Tensor) -> Tensor:
        """What the frozen blocks make of pictures: the input of the tail."""
        seen: Tensor = self.frozen(self.pixels(image))
        return seen

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.tail(self.maps(image))
        return logits
