"""Roots and proofs are pymerkle's at every size; whatever is not the log's is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from service.audit.merkle import (
    EMPTY_ROOT,
    MemoryNodes,
    MerkleTree,
    Nodes,
    leaf_hash,
)
from service.audit.merkle_proof import verify_consistency, verify_inclusion
from service.audit.tiles import TileNodes
from service.errors import CorruptLog, EvidenceError, InvalidParameter

#: RFC 6962's reference implementation has these eight leaves and roots in its own tests.
KNOWN_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = [*range(1, 20), 63, 64, 65, 127, 200, 255, 256, 257, 300]
LEAVES = [f"record {i}".encode() for i in range(max(SIZES))]
ORACLE = InmemoryTree.init_from_entries(LEAVES)


@pytest.fixture(params=[MemoryNodes, lambda: TileNodes(lambda _level, _index: None)])
def tree(request: pytest.FixtureRequest) -> MerkleTree:
    grown = MerkleTree(request.param())
    grown.extend(LEAVES)
    return grown


def grown(leaves: list[bytes], nodes: Nodes | None = None) -> MerkleTree:
    tree = MerkleTree(nodes or MemoryNodes())
    tree.extend(leaves)
    return tree


def by_definition(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162 sec. 2.1.4.1, word for word, with pymerkle's roots."""
    if old == len(leaves):
        return [] if whole else [InmemoryTree.init_from_entries(leaves).get_root()]
    k = max(2**i for i in range(9) if 2**i < len(leaves))
    if old <= k:
        other = InmemoryTree.init_from_entries(leaves[k:]).get_root()
        return [*by_definition(old, leaves[:k], whole), other]
    other = InmemoryTree.init_from_entries(leaves[:k]).get_root()
    return [*by_definition(old - k, leaves[k:], False), other]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference_implementation(size: int) -> None:
    assert grown(KNOWN_LEAVES[:size]).root().hex() == KNOWN_ROOTS[size - 1]


def test_an_empty_log_has_the_hash_of_nothing_as_its_root() -> None:
    assert MerkleTree(MemoryNodes()).root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex().startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_roots_are_pymerkles_at_every_size(tree: MerkleTree) -> None:
    for size in range(1, len(LEAVES) + 1):
        assert tree.root(size) == ORACLE.get_root(size)


def test_inclusion_paths_are_pymerkles_for_every_leaf(tree: MerkleTree) -> None:
    for size in SIZES:
        for index in {*range(min(size, 9)), size // 2, size - 1}:
            # pymerkle counts from 1 and puts the leaf itself first
            expected = ORACLE.prove_inclusion(index + 1, size).path[1:]
            path = tree.inclusion_path(index, size)
            assert path == expected
            verify_inclusion(LEAVES[index], index, size, path, tree.root(size))


def test_consistency_holds_between_all_pairs_of_sizes_for_us_and_for_pymerkle(
    tree: MerkleTree,
) -> None:
    for new in SIZES:
        for old in [s for s in SIZES if s <= new]:
            path = tree.consistency_path(old, new)
            verify_consistency(old, tree.root(old), new, tree.root(new), path)
            assert path == by_definition(old, LEAVES[:new])
            # pymerkle sends other nodes, all peaks of the older tree: its proof holds for our roots
            ORACLE.prove_consistency(old, new).verify(tree.root(old), tree.root(new), old, new)


def test_a_tree_is_opened_again_at_any_size_that_it_had() -> None:
    nodes = MemoryNodes()
    whole = grown(LEAVES[:77], nodes)
    again = MerkleTree(nodes, 77)
    assert again.root() == whole.root()
    assert again.extend(LEAVES[77:90]) == range(77, 90)
    assert again.root() == grown(LEAVES[:90]).root()


def test_tiles_that_are_written_after_each_group_are_the_same_tree() -> None:
    kept: dict[tuple[int, int], bytes] = {}

    def read(level: int, index: int) -> bytes | None:
        return kept.get((level, index))

    size = 0
    leaves = [i.to_bytes(4, "big") for i in range(70_000)]  # reaches tile level 2
    for group in (1, 2, 254, 300, 1000, 60_000, 8443):
        nodes = TileNodes(read)
        tree = MerkleTree(nodes, size)
        size = tree.extend(leaves[size : size + group]).stop
        kept.update(nodes.take_changed())
        assert nodes.take_changed() == {}
    assert tree.root() == grown(leaves).root()
    assert {level for level, _ in kept} == {0, 1, 2}
    fresh = MerkleTree(TileNodes(read), size)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        path = fresh.inclusion_path(index)
        verify_inclusion(leaves[index], index, size, path, tree.root())


def test_a_proof_reads_few_nodes() -> None:
    class Counting(MemoryNodes):
        reads = 0

        def get(self, level: int, index: int) -> bytes:
            self.reads += 1
            return super().get(level, index)

    nodes = Counting()
    tree = grown([b"x"] * 4095, nodes)
    for ask in (lambda: tree.inclusion_path(17), lambda: tree.consistency_path(1365)):
        nodes.reads = 0
        ask()
        assert nodes.reads <= 2 * 12


@given(data=st.data(), size=st.integers(1, 300))
def test_any_changed_bit_of_an_inclusion_proof_is_detected(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = ORACLE.get_root(size)
    path = ORACLE.prove_inclusion(index + 1, size).path[1:]
    verify_inclusion(LEAVES[index], index, size, path, root)
    parts = [LEAVES[index], root, *path]
    which = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 8 * len(parts[which]) - 1))
    changed = bytearray(parts[which])
    changed[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(changed)
    leaf, root, *path = parts
    with pytest.raises(EvidenceError, match="leads to root"):
        verify_inclusion(leaf, index, size, path, root)


@given(data=st.data(), new=st.integers(2, 300))
def test_any_changed_bit_of_a_consistency_proof_is_detected(data: st.DataObject, new: int) -> None:
    tree = grown(LEAVES[:new])
    old = data.draw(st.integers(1, new - 1))
    parts = [tree.root(old), tree.root(new), *tree.consistency_path(old)]
    verify_consistency(old, parts[0], new, parts[1], parts[2:])
    which = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    changed = bytearray(parts[which])
    changed[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(changed)
    with pytest.raises(EvidenceError, match="forked"):
        verify_consistency(old, parts[0], new, parts[1], parts[2:])


@given(data=st.data(), size=st.integers(2, 120))
def test_another_place_order_or_length_leads_elsewhere(data: st.DataObject, size: int) -> None:
    leaves = LEAVES[:size]
    tree = grown(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = tree.inclusion_path(index)
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
    with pytest.raises(EvidenceError):
        verify_inclusion(leaves[index], other, size, path, tree.root())
    swapped = leaves.copy()
    swapped[index], swapped[other] = swapped[other], swapped[index]
    for forged in (swapped, leaves[:index] + leaves[index + 1 :], leaves[:-1], [*leaves, b""]):
        assert grown(forged).root() != tree.root()


@given(data=st.data(), fork=st.integers(0, 99))
def test_no_path_makes_a_forked_log_consistent(data: st.DataObject, fork: int) -> None:
    """The proof that the fork's own operator would give, of his own tree."""
    honest = grown(LEAVES[:100])
    forked = grown([*LEAVES[:fork], b"another history", *LEAVES[fork + 1 : 150]])
    old = data.draw(st.integers(fork + 1, 100))
    with pytest.raises(EvidenceError):
        verify_consistency(
            old, honest.root(old), 150, forked.root(), forked.consistency_path(old, 150)
        )


@pytest.mark.parametrize("many", [0, 1, 6, 8, 70])
def test_a_path_of_the_wrong_length_is_told_apart(tree: MerkleTree, many: int) -> None:
    root = tree.root(100)
    with pytest.raises(EvidenceError, match=f"{many} nodes are too (few|many)"):
        verify_inclusion(LEAVES[3], 3, 100, [b"\0" * 32] * many, root)
    with pytest.raises(EvidenceError, match=r"too (few|many)"):
        verify_consistency(33, tree.root(33), 100, root, [b"\0" * 32] * (many + many // 8))


def test_what_a_log_never_was_is_named(tree: MerkleTree) -> None:
    with pytest.raises(InvalidParameter, match="index 300, but a log of 300 records"):
        tree.inclusion_path(300)
    with pytest.raises(InvalidParameter, match="index -1"):
        tree.inclusion_path(-1)
    with pytest.raises(InvalidParameter, match="size 301; it has had every size from 0 to 300"):
        tree.root(301)
    with pytest.raises(InvalidParameter, match="from size 20 to 10"):
        tree.consistency_path(20, 10)
    with pytest.raises(EvidenceError, match="never shrinks"):
        verify_consistency(2, EMPTY_ROOT, 1, EMPTY_ROOT, [])
    with pytest.raises(EvidenceError, match="not the root of an empty log"):
        verify_consistency(0, leaf_hash(b""), 1, EMPTY_ROOT, [])
    with pytest.raises(EvidenceError, match="two roots of one size"):
        verify_consistency(2, tree.root(2), 2, tree.root(3), [])
    with pytest.raises(EvidenceError, match="needs no nodes, has 1"):
        verify_consistency(2, tree.root(2), 2, tree.root(2), [EMPTY_ROOT])
    with pytest.raises(EvidenceError, match="no such record"):
        verify_inclusion(b"", 3, 3, [], EMPTY_ROOT)


def test_a_missing_node_is_a_corrupt_log_and_no_wrong_proof() -> None:
    with pytest.raises(CorruptLog, match="node 0 of level 1 is missing"):
        MerkleTree(MemoryNodes(), 3).root()
    with pytest.raises(CorruptLog, match="does not follow"):
        MemoryNodes().put(0, 1, EMPTY_ROOT)
    with pytest.raises(CorruptLog, match="tile 0 of tile level 0, which has 32 bytes"):
        MerkleTree(TileNodes(lambda _level, _index: EMPTY_ROOT), 2).root()
    with pytest.raises(CorruptLog, match="does not follow"):
        TileNodes(lambda _level, _index: None).put(0, 1, EMPTY_ROOT)
