"""In which order examples come and how they are divided: pure functions of seeds, ints in, indices out.

Everything that must repeat years later on another machine stands here. The numbers come straight from
NumPy's bit generators, whose streams NumPy promises never to change, not from `Generator.permutation`,
for which it makes no such promise (NEP 19).
"""

import math
from collections.abc import Iterator

import numpy as np

from kernelearn.errors import ArgumentError, DataError

_EPOCH, _SPLIT, _SAMPLE, _BATCHES = 1, 2, 3, 4  # keep the streams of different uses of one seed apart


def permutation(n: int, *key: int) -> np.ndarray:
    """(n,) int64 random order of 0..n-1, a pure function of `n` and the integers in `key`."""
    raw = np.random.PCG64(np.random.SeedSequence(list(key))).random_raw(n)
    return np.argsort(np.atleast_1d(raw), kind="stable")


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which epoch `epoch` (from 0) visits `n` examples: a permutation of 0..n-1.

    >>> sorted(epoch_order(5, seed=0, epoch=3).tolist())
    [0, 1, 2, 3, 4]
    """
    return permutation(n, _EPOCH, check_seed(seed), int(epoch))


def sample_order(n: int, seed: int) -> np.ndarray:
    """An order for picking examples to look at, unrelated to the order of training."""
    return permutation(n, _SAMPLE, check_seed(seed))


def check_seed(seed: int) -> int:
    """`seed` as a plain int. Raises: ArgumentError unless it is an integer of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be an integer >= 0, got {seed!r}.")
    return int(seed)


def check_batch_size(batch_size: int) -> int:
    """`batch_size` as a plain int. Raises: ArgumentError unless it is an integer of at least 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ArgumentError(f"batch_size must be an integer >= 1, got {batch_size!r}.")
    return int(batch_size)


def check_start(start: int) -> int:
    """Batches to skip, as a plain int. Raises: ArgumentError unless it is an integer of at least 0."""
    if not isinstance(start, int | np.integer) or start < 0:
        raise ArgumentError(f"start must be a number of batches >= 0, got {start!r}.")
    return int(start)


def batch_count(n: int, batch_size: int, drop_remainder: bool = False) -> int:
    """Number of batches in one pass over `n` examples."""
    return n // batch_size if drop_remainder else math.ceil(n / batch_size)


def batch_slices(n: int, batch_size: int, start: int, drop_remainder: bool) -> Iterator[slice]:
    """Slices into an epoch's order, from batch number `start` on."""
    for batch in range(start, batch_count(n, batch_size, drop_remainder)):
        yield slice(batch * batch_size, min(n, (batch + 1) * batch_size))


def batches_by_group(
    groups: np.ndarray, batch_size: int, seed: int | None, epoch: int, drop_remainder: bool = False
) -> list[np.ndarray]:
    """The examples of each batch of an epoch where a batch holds examples of one group only.

    Args:
        groups: (n,) number of the group of every example.
        seed: of the order of examples within their groups and of the batches among each other; None for
            examples as they stand, and batches by their first one.

    >>> [batch.tolist() for batch in batches_by_group(np.array([0, 1, 0, 0, 1]), 2, None, 0)]
    [[0, 2], [1, 4], [3]]
    """
    order = np.arange(len(groups)) if seed is None else epoch_order(len(groups), seed, epoch)
    batches = []
    for group in np.unique(groups):
        members = order[groups[order] == group]
        slices = batch_slices(len(members), batch_size, 0, drop_remainder)
        batches += [members[part] for part in slices]
    if seed is None:
        return sorted(batches, key=lambda batch: int(batch[0]))
    return [batches[i] for i in permutation(len(batches), _BATCHES, seed, int(epoch))]


def part_size(n: int, size: float, what: str) -> int:
    """How many of `n` examples a part takes: a fraction in (0, 1), or a count of at least 1.

    Raises: ArgumentError if the value is neither, or if nothing would be left to train on.
    """
    if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating) or not size > 0:
        raise ArgumentError(f"{what} must be a fraction in (0, 1) or a count >= 1, got {size!r}.")
    if size >= 1 and size != int(size):
        raise ArgumentError(f"{what} must be a fraction below 1 or a whole number, got {size!r}.")
    count = max(1, round(n * size)) if size < 1 else int(size)
    if count >= n:
        raise ArgumentError(f"{what}={size!r} takes {count} of {n} examples and leaves none for training.")
    return count


def split_indices(
    n: int,
    size: float,
    seed: int,
    labels: np.ndarray | None = None,
    shuffle: bool = True,
    what: str = "fraction",
) -> tuple[np.ndarray, np.ndarray]:
    """Divide 0..n-1 into (rest, part), both sorted, disjoint and together everything.

    Args:
        n: number of examples.
        size: fraction or count of the part.
        seed: decides which examples; the same seed gives the same split.
        labels: (n,) class indices: the part then has each class in proportion, and the rest keeps at
            least one example of each. None draws without regard to classes.
        shuffle: False takes the last examples, in order, and looks at neither seed nor labels.
        what: name of the argument in error messages.
    Raises: ArgumentError for a bad size, DataError if the classes are too small to be divided.
    """
    count = part_size(n, size, what)
    if not shuffle:
        return np.arange(n - count), np.arange(n - count, n)
    order = permutation(n, _SPLIT, check_seed(seed))
    chosen = order[:count] if labels is None else _stratified(order, labels, count, what)
    taken = np.zeros(n, dtype=bool)
    taken[chosen] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def _stratified(order: np.ndarray, labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """The first examples of each class in `order`, as many as the class's share of `count`."""
    present, sizes = np.unique(labels, return_counts=True)
    shares = _shares(sizes, count, what)
    shuffled = labels[order]
    picks = [order[shuffled == value][:share] for value, share in zip(present, shares)]
    return np.concatenate(picks)


def _shares(sizes: np.ndarray, count: int, what: str) -> np.ndarray:
    """Divide `count` over classes of the given sizes by largest remainder, leaving one of each behind."""
    quota = sizes * (count / sizes.sum())
    shares = np.minimum(np.floor(quota).astype(np.int64), sizes - 1)
    if count > int((sizes - 1).sum()):
        raise DataError(
            f"{what} asks for {count} examples, but with {len(sizes)} classes in {int(sizes.sum())} "
            "examples that would leave a class without any. Take fewer, add examples, or give "
            "stratify=False."
        )
    by_remainder = np.argsort(-(quota - np.floor(quota)), kind="stable")
    while shares.sum() < count:
        for index in by_remainder:
            if shares.sum() < count and shares[index] < sizes[index] - 1:
                shares[index] += 1
    return np.asarray(shares)
