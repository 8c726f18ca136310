"""A stream that several processes train on: each item is read once, by one of them, and given to all.

Whoever reads, all get the same items in the same order: those that one process would read. A source that
gives items by their numbers is read in turn, `size` items at a time; any other is read by the first process.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kernelearn.errors import DataError
from kernelearn.parallel.exchange import Exchange

if TYPE_CHECKING:
    from kernelearn.data import StreamDataset


def shared_stream(stream: StreamDataset, together: Exchange, what: str) -> StreamDataset:
    """The stream as all processes of an exchange read it; to be used by all of them alike.

    Args:
        what: how to call it in messages.
    """
    if stream.is_by_number:
        return stream.read_as(_Again(_by_number, stream, together))
    if together.rank == 0:
        warnings.warn(
            f"The {what} is a stream, which cannot be read in parts: process 0 reads all of it and gives it "
            f"to the other {together.size - 1}. Give a function of two numbers, items(first, step), that "
            "yields every step-th item from a first one, and each process reads its own.",
            UserWarning,
            stacklevel=4,
        )
    if stream.is_one_pass:
        return stream.read_as(_from_first(stream, together))
    return stream.read_as(_Again(_from_first, stream, together))


class _Again:
    """What can be iterated as often as the stream itself, and is as long."""

    def __init__(self, read: Any, stream: StreamDataset, together: Exchange) -> None:
        self._read, self._stream, self._together = read, stream, together

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read(self._stream, self._together))

    def __len__(self) -> int:
        length = self._stream.length
        if length is None:
            raise TypeError("The length of the stream is not known.")
        return length


def _from_first(stream: StreamDataset, together: Exchange) -> Iterator[Any]:
    """The items that the first process reads."""
    items = iter(stream.items()) if together.rank == 0 else iter(())
    while told := together.told(_next(items) if together.rank == 0 else None):
        yield told[0]


def _by_number(stream: StreamDataset, together: Exchange) -> Iterator[Any]:
    """The items that all processes read in turn."""
    own = iter(stream.items(together.rank, together.size))
    while True:
        found = together.all_say(_next(own))
        there = next((number for number, one in enumerate(found) if not one), len(found))
        if any(found[there:]):
            raise DataError(
                "The stream gave items of higher numbers after it had ended: items(first, step) must yield "
                "every step-th item from the first one, of the same items for any step."
            )
        yield from (one[0] for one in found[:there])
        if there < len(found):
            return


def _next(items: Iterator[Any]) -> tuple[Any, ...]:
    """The next item of an iterator, alone in a tuple; an empty one at its end."""
    for item in items:
        return (item,)
    return ()
