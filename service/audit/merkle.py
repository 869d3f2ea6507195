"""The log's Merkle tree: one root that commits to every record and to their order.

A leaf is the canonical bytes of a record. Only nodes over complete subtrees are kept, and
they never change once written, so that a root and both kinds of proof read O(log n) of them
at any size that the tree ever had.

Source: RFC 9162 sec. 2.1, with the hashes of RFC 6962: SHA-256, leaves prefixed by 0x00 and
nodes by 0x01.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from service.errors import CorruptLog, InvalidParameter

HASH_BYTES: Final = 32
#: What an empty log commits to.
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The node of level 0 over a leaf, 32 bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node over two neighbours, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Nodes(Protocol):
    """Where nodes over complete subtrees are kept.

    The node (level, index) covers the 2**level leaves from index * 2**level on.
    """

    def get(self, level: int, index: int) -> bytes:
        """The node, 32 bytes.

        Raises:
            CorruptLog: it is not there, or is no node.
        """
        ...

    def put(self, level: int, index: int, node: bytes) -> None:
        """Keep a node; those of a level come in order, each once."""
        ...


class MemoryNodes:
    """Nodes in memory, 64 bytes a leaf."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = []

    def get(self, level: int, index: int) -> bytes:
        """The node, 32 bytes.

        Raises:
            CorruptLog: it is not there.
        """
        if level < len(self._levels):
            at = index * HASH_BYTES
            if node := bytes(self._levels[level][at : at + HASH_BYTES]):
                return node
        raise CorruptLog(f"log: node {index} of level {level} is missing.")

    def put(self, level: int, index: int, node: bytes) -> None:
        """Keep a node.

        Raises:
            CorruptLog: it does not follow the one before it.
        """
        if level == len(self._levels):
            self._levels.append(bytearray())
        if len(self._levels[level]) != index * HASH_BYTES:
            raise CorruptLog(f"log: node {index} of level {level} does not follow its neighbour.")
        self._levels[level] += node


class MerkleTree:
    """A log's tree, appended to and proved from.

    It keeps no more than the roots of the complete subtrees at its right edge: to give up what
    was appended in a transaction that failed, drop it and open another at the former size.

    Args:
        nodes: where its nodes are.
        size: leaves that it has; `nodes` must hold its nodes.

    All its methods raise CorruptLog where a node is missing.
    """

    def __init__(self, nodes: Nodes, size: int = 0) -> None:
        self._nodes = nodes
        self._size = size
        self._known: list[bytes] | None = None

    @property
    def _peaks(self) -> list[bytes]:
        """Roots of the complete subtrees at the right edge; a proof of old leaves needs none."""
        if self._known is None:
            self._known = [self._nodes.get(*at) for at in _peaks(0, self._size)]
        return self._known

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    def append(self, leaf: bytes) -> int:
        """Add a leaf; returns its index."""
        index, level, node, peaks = self._size, 0, leaf_hash(leaf), self._peaks
        self._nodes.put(0, index, node)
        while index & 1:
            node = node_hash(peaks.pop(), node)
            index >>= 1
            level += 1
            self._nodes.put(level, index, node)
        peaks.append(node)
        self._size += 1
        return self._size - 1

    def extend(self, leaves: Iterable[bytes]) -> range:
        """Add leaves in order; returns their indices."""
        first = self._size
        for leaf in leaves:
            self.append(leaf)
        return range(first, self._size)

    def root(self, size: int | None = None) -> bytes:
        """What the first `size` leaves hash to; all of them where it is None.

        Raises:
            InvalidParameter: the tree never had this size.
        """
        size = self._checked(size)
        if size == self._size:
            return _folded(self._peaks)
        return self._over(0, size)

    def inclusion_path(self, index: int, size: int | None = None) -> list[bytes]:
        """The neighbours that lead from a leaf to the root of the first `size` leaves.

        Returns:
            Nodes of 32 bytes, the leaf's neighbour first; at most 64.

        Raises:
            InvalidParameter: no such leaf in a tree of this size, or the tree never had it.

        Source: RFC 9162 sec. 2.1.3.1.
        """
        end = self._checked(size)
        if not 0 <= index < end:
            raise InvalidParameter(
                f"inclusion proof: index {index}, but a log of {end} records has indices from 0 "
                f"below {end}."
            )
        path, start = [], 0
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start = middle
        return path[::-1]

    def consistency_path(self, old: int, new: int | None = None) -> list[bytes]:
        """What shows that the first `old` leaves are also the first of `new` ones.

        Returns:
            Nodes of 32 bytes; none where `old` is 0 or equals `new`.

        Raises:
            InvalidParameter: the tree never had one of the sizes, or `old` exceeds `new`.

        Source: RFC 9162 sec. 2.1.4.1.
        """
        end = self._checked(new)
        if not 0 <= old <= end:
            raise InvalidParameter(
                f"consistency proof: from size {old} to {end}; the first must be from 0 to {end}."
            )
        path, start, whole = [], 0, True
        while old not in (0, end):
            middle = start + _split(end - start)
            if old <= middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start, whole = middle, False
        if not whole:
            path.append(self._over(start, end))
        return path[::-1]

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self._size
        if not 0 <= size <= self._size:
            raise InvalidParameter(
                f"log: size {size}; it has had every size from 0 to {self._size} and no other."
            )
        return size

    def _over(self, start: int, end: int) -> bytes:
        return _folded([self._nodes.get(*at) for at in _peaks(start, end)])


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _peaks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Complete subtrees that cover [start, end), left to right; `start` is aligned to them."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def _folded(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    node = peaks[-1]
    for peak in reversed(peaks[:-1]):
        node = node_hash(peak, node)
    return node
