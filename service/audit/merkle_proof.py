"""Proofs of a Merkle tree, checked by whoever has nothing but them; see `merkle`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.audit.merkle import EMPTY_ROOT, leaf_hash, node_hash
from service.errors import EvidenceError


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf is the one at `index` of the `size` leaves that `root` commits to.

    Args:
        leaf: the record's canonical bytes.
        index: from 0.
        size: leaves under the root.
        path: as `MerkleTree.inclusion_path` gives it.
        root: 32 bytes.

    Raises:
        EvidenceError: it is not.

    Source: RFC 9162 sec. 2.1.3.2.
    """
    where = f"inclusion proof: record {index} of {size}"
    if not 0 <= index < size:
        raise EvidenceError(f"{where}: there is no such record in a log of this size.")
    first, last, node = index, size - 1, leaf_hash(leaf)
    for neighbour in path:
        if last == 0:
            raise EvidenceError(f"{where}: {len(path)} nodes are too many.")
        if first & 1 or first == last:
            node = node_hash(neighbour, node)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            node = node_hash(node, neighbour)
        first, last = first >> 1, last >> 1
    if last:
        raise EvidenceError(f"{where}: {len(path)} nodes are too few.")
    if node != root:
        raise EvidenceError(
            f"{where}: leads to root {node.hex()}, not to {root.hex()}: the record, its place or "
            "the proof was changed."
        )


def verify_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the first `old` of `new` leaves are the `old` leaves of before.

    Args:
        old: leaves of before.
        old_root: 32 bytes, of these.
        new: leaves now, as many or more.
        new_root: 32 bytes, of these.
        path: as `MerkleTree.consistency_path` gives it.

    Raises:
        EvidenceError: they are not.

    Source: RFC 9162 sec. 2.1.4.2.
    """
    where = f"consistency proof: from size {old} to {new}"
    if not 0 <= old <= new:
        raise EvidenceError(f"{where}: a log never shrinks.")
    if old in (0, new):
        if path:
            raise EvidenceError(f"{where}: needs no nodes, has {len(path)}.")
        if old == 0 and old_root != EMPTY_ROOT:
            raise EvidenceError(f"{where}: {old_root.hex()} is not the root of an empty log.")
        if old == new and old_root != new_root:
            raise EvidenceError(
                f"{where}: two roots of one size, {old_root.hex()} and {new_root.hex()}: the log "
                "was forked."
            )
        return
    before, after = _replayed(where, old, new, old_root, path)
    if before != old_root or after != new_root:
        which = "older" if before != old_root else "newer"
        raise EvidenceError(
            f"{where}: does not lead to the {which} root: the log was forked, or the proof changed."
        )


def _replayed(
    where: str, old: int, new: int, old_root: bytes, path: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Both roots, as the nodes of a consistency proof lead to them."""
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    # The older tree is one complete subtree: its root is known and not sent.
    nodes: Iterator[bytes] = iter(path if first else [old_root, *path])
    before = after = next(nodes, None)
    if before is None or after is None:
        raise EvidenceError(f"{where}: {len(path)} nodes are too few.")
    for node in nodes:
        if last == 0:
            raise EvidenceError(f"{where}: {len(path)} nodes are too many.")
        if first & 1 or first == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node_hash(after, node)
        first, last = first >> 1, last >> 1
    if last:
        raise EvidenceError(f"{where}: {len(path)} nodes are too few.")
    return before, after
