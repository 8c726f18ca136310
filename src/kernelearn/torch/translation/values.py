"""A tensor of PyTorch in a program: its buffer, and which axis of the tensor each axis of the buffer is."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.program import Buffer

Order = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A buffer whose axis k is axis order[k] of a tensor."""

    buffer: Buffer
    order: Order

    @classmethod
    def images(cls, buffer: Buffer) -> Value:
        """A buffer with channels last, of a tensor that has them second."""
        return cls(buffer, channels_last(len(buffer.shape)))

    @classmethod
    def plain(cls, buffer: Buffer) -> Value:
        """A buffer with axes in the order of the tensor."""
        return cls(buffer, tuple(range(len(buffer.shape))))


def channels_last(rank: int) -> Order:
    """Of (n, c, *sizes) the order (n, *sizes, c); up to rank 2 they are the same."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))
