"""The fixed tree: in which order the parts of shards are added, whichever process holds them.

A node is a range (first, behind) of shards. It is one shard, or the sum of its two halves, the first of which
is the longer one where they differ. The sum over all shards is that of the root. A process that holds a range
of shards adds up the nodes that lie inside of it; the others are added by whoever gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

Node = tuple[int, int]
T = TypeVar("T")


def halves(node: Node) -> tuple[Node, Node]:
    """The two nodes that make a node of several shards.

    >>> halves((0, 5))
    ((0, 3), (3, 5))
    """
    first, behind = node
    middle = first + (behind - first + 1) // 2
    return (first, middle), (middle, behind)


def cover(root: Node, part: Node) -> Iterator[Node]:
    """The largest nodes below `root` that lie in a range of shards, in order.

    >>> list(cover((0, 12), (4, 8)))
    [(4, 5), (5, 6), (6, 8)]
    """
    if part[0] <= root[0] and root[1] <= part[1]:
        yield root
    elif root[1] - root[0] > 1 and root[0] < part[1] and part[0] < root[1]:
        for half in halves(root):
            yield from cover(half, part)


def value_of(
    node: Node,
    leaf: Callable[[int], T | None],
    add: Callable[[T, T], T],
    add_leaf: Callable[[T, int], T] | None = None,
) -> T | None:
    """The sum of a node.

    Args:
        leaf: number of a shard -> its part; None for an empty shard, which adds nothing.
        add: of two parts; it may write into the first.
        add_leaf: the same with the number of a shard in place of the second, where that is cheaper.
    """
    if node[1] - node[0] == 1:
        return leaf(node[0])
    left, right = halves(node)
    first = value_of(left, leaf, add, add_leaf)
    if add_leaf is not None and first is not None and right[1] - right[0] == 1:
        return add_leaf(first, right[0])
    second = value_of(right, leaf, add, add_leaf)
    if first is None or second is None:
        return second if first is None else first
    return add(first, second)


def before_last(node: Node) -> list[Node]:
    """The nodes that the last shard of a node is added to: the sum is n0 + (n1 + (... + shard)).

    >>> before_last((6, 12))
    [(6, 9), (9, 11)]
    """
    found = []
    while node[1] - node[0] > 1:
        left, node = halves(node)
        found.append(left)
    return found


def joined(root: Node, known: Mapping[Node, T | None], add: Callable[[T, T], T]) -> T | None:
    """The sum of a node from the sums of nodes below it that cover it."""
    if root in known:
        return known[root]
    first, second = (joined(half, known, add) for half in halves(root))
    if first is None or second is None:
        return second if first is None else first
    return add(first, second)


def share_of(rank: int, size: int, shards: int) -> Node:
    """The shards of a process: as equal as can be, in order.

    >>> [share_of(rank, 3, 8) for rank in range(3)]
    [(0, 2), (2, 5), (5, 8)]
    """
    return rank * shards // size, (rank + 1) * shards // size


def rows_of(shard: int, shards: int, rows: int) -> slice:
    """The rows of a batch that are a shard; none where there are fewer rows than shards.

    >>> [rows_of(shard, 4, 6) for shard in range(4)]
    [slice(0, 1, None), slice(1, 3, None), slice(3, 4, None), slice(4, 6, None)]
    """
    return slice(shard * rows // shards, (shard + 1) * rows // shards)
