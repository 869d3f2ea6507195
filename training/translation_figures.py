"""How good translations are, as everybody counts it."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU


def figures(texts: Sequence[str], wanted: Sequence[str], bleu: bool) -> dict[str, float]:
    """Figures of translations against the right ones.

    Args:
        texts: translations.
        wanted: the right ones, in the same order.
        bleu: whether to count BLEU too.

    Returns:
        `exact_match`, the share that is right to the letter, in [0, 1]; `bleu`, of the corpus,
        detokenised and cased, in [0, 100].

    Source: Post 2018, arXiv:1804.08771; Papineni et al. 2002, ACL.
    """
    found = {"exact_match": sum(a == b for a, b in zip(texts, wanted, strict=True)) / len(wanted)}
    if bleu:
        found["bleu"] = float(BLEU().corpus_score(list(texts), [list(wanted)]).score)
    return found


def signature() -> str:
    """What sacreBLEU calls the way in which `figures` counts."""
    metric = BLEU()
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())
