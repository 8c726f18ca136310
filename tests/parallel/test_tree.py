"""The tree gives one order of additions, whoever holds the shards."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelearn.parallel.tree import cover, halves, joined, rows_of, share_of, value_of

COUNTS = st.integers(1, 40)


def term(number):
    return f"{number}"


def bracketed(first, second):
    return f"({first}+{second})"


@given(shards=COUNTS, size=COUNTS)
def test_nodes_of_all_processes_join_into_the_tree_of_one(shards, size):
    known = {}
    for rank in range(size):
        for node in cover((0, shards), share_of(rank, size, shards)):
            known[node] = value_of(node, term, bracketed)
    assert joined((0, shards), known, bracketed) == value_of((0, shards), term, bracketed)


@given(shards=COUNTS, size=COUNTS)
def test_shares_and_covers_hold_every_shard_once_in_order(shards, size):
    parts = [share_of(rank, size, shards) for rank in range(size)]
    nodes = [node for part in parts for node in cover((0, shards), part)]
    assert [shard for node in nodes for shard in range(*node)] == list(range(shards))
    lengths = [behind - first for first, behind in parts]
    assert max(lengths) - min(lengths) <= 1


@given(shards=COUNTS, rows=st.integers(0, 200))
def test_rows_are_dealt_out_once_in_order(shards, rows):
    slices = [rows_of(shard, shards, rows) for shard in range(shards)]
    assert [row for one in slices for row in range(rows)[one]] == list(range(rows))


@given(shards=COUNTS, empty=st.sets(st.integers(0, 40)))
def test_empty_shards_add_nothing(shards, empty):
    def leaf(number):
        return None if number in empty else number

    total = value_of((0, shards), leaf, operator.add)
    left = [number for number in range(shards) if number not in empty]
    assert total == (sum(left) if left else None)


@pytest.mark.parametrize(("node", "expected"), [((0, 2), ((0, 1), (1, 2))), ((3, 6), ((3, 5), (5, 6)))])
def test_the_first_half_is_the_longer_one(node, expected):
    assert halves(node) == expected


def test_aligned_shares_are_single_nodes():
    """Of twelve shards: how many vectors a process sends; one where its share is a node of the tree."""
    nodes = {
        n: max(len(list(cover((0, 12), share_of(r, n, 12)))) for r in range(n)) for n in (1, 2, 3, 4, 6, 12)
    }
    assert nodes == {1: 1, 2: 1, 3: 3, 4: 1, 6: 2, 12: 1}
