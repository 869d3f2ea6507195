"""The tree's nodes in few large pieces, so that a commit writes one and not one a record.

Source: C2SP tlog-tiles: a tile holds up to 256 nodes of one level, levels 0, 8, 16 and so on;
the levels between are hashed again when they are asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from service.audit.merkle import HASH_BYTES, node_hash
from service.errors import CorruptLog

#: Levels in a tile, and nodes in a complete one.
HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
#: Complete tiles kept in memory: 8 KiB each.
_KEPT: Final = 64

#: (tile level, index) of a tile.
At = tuple[int, int]


class TileNodes:
    """Nodes of a tree in tiles.

    Args:
        read: a tile's bytes by (tile level, index), None where there is none yet. The last tile
            of a level is read before it is complete, and written again when it has grown.

    After `put`, whatever `take_changed` returns must be written in the transaction that writes
    the records. Where that fails, drop this object with its tree.
    """

    def __init__(self, read: Callable[[int, int], bytes | None]) -> None:
        self._read = read
        self._tiles: OrderedDict[At, bytearray] = OrderedDict()
        self._changed: set[At] = set()

    def get(self, level: int, index: int) -> bytes:
        """The node, 32 bytes; at most 127 hashes.

        Raises:
            CorruptLog: the tile is missing or too short.
        """
        above = level % HEIGHT
        first = index << above
        tile = self._tile((level // HEIGHT, first // WIDTH))
        at = first % WIDTH * HASH_BYTES
        below = bytes(tile[at : at + (HASH_BYTES << above)])
        if len(below) != HASH_BYTES << above:
            raise CorruptLog(
                f"log: node {index} of level {level} is not in tile {first // WIDTH} of tile level "
                f"{level // HEIGHT}, which has {len(tile)} bytes."
            )
        row = [below[i : i + HASH_BYTES] for i in range(0, len(below), HASH_BYTES)]
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        return row[0]

    def put(self, level: int, index: int, node: bytes) -> None:
        """Keep a node, if it is of a level that tiles have.

        Raises:
            CorruptLog: it does not follow the one before it.
        """
        if level % HEIGHT:
            return
        at = (level // HEIGHT, index // WIDTH)
        tile = self._tile(at)
        if len(tile) != index % WIDTH * HASH_BYTES:
            raise CorruptLog(
                f"log: node {index} of level {level} does not follow its neighbour: the tile has "
                f"{len(tile)} bytes."
            )
        tile += node
        self._changed.add(at)

    def take_changed(self) -> dict[At, bytes]:
        """Tiles that `put` has made or made longer since the last call, to be written."""
        changed = {at: bytes(self._tiles[at]) for at in sorted(self._changed)}
        self._changed.clear()
        return changed

    def _tile(self, at: At) -> bytearray:
        tile = self._tiles.get(at)
        if tile is None:
            tile = self._tiles[at] = bytearray(self._read(*at) or b"")
            self._forget()
        else:
            self._tiles.move_to_end(at)
        return tile

    def _forget(self) -> None:
        """Drop what was not used for longest, never what is still to be written."""
        for at in list(self._tiles)[: max(0, len(self._tiles) - _KEPT)]:
            if at not in self._changed:
                del self._tiles[at]
