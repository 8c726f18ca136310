"""What follows a sum of products in one run of a network, up to its pooling or the next layer.

`unit` goes this way with one number, `columns` with whole maps: all values are at hand, so a way may branch.
A record has few of them, `recording/stages.py`, and only as far as the numbers go one way alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kernelearn.engine.program import Operation
from kernelearn.explain.passes.replay import Index, Replay

# What may follow, in words.
STAGES = {
    "bias_add": "bias",
    "normalize": "normalisation",
    "standardize": "normalisation",
    "affine": "scale and shift",
    "multiply": "factor",
    "add": "addition",
    "subtract": "subtraction",
    "scale": "scale",
    "activation": "activation",
    "prelu": "activation",
    "softmax": "softmax",
    "log_softmax": "log softmax",
    "dropout": "dropout",
    "gaussian_noise": "noise",
}


@dataclass(frozen=True)
class At:
    """Where the numbers stand.

    Attributes:
        op: that gave them; buffer: its result.
        axes: which axis of the sums each axis of the result is.
    """

    op: Operation
    axes: tuple[int, ...]

    @property
    def buffer(self) -> str:
        return self.op.outputs[0]

    @property
    def channel(self) -> int:
        """The axis of the channels."""
        return self.axes.index(max(self.axes))

    def place(self, place: Index) -> Index:
        """Where a number is here, from its place among the sums, both without the image."""
        return tuple(place[axis - 1] for axis in self.axes[1:])

    @property
    def is_turned(self) -> bool:
        """Whether the operation turned maps and computed nothing, as layers with channels first have it."""
        return self.op.operator == "transpose"


def sums_of(replay: Replay, op: Operation) -> At:
    """Where the way of the sums of a convolution or dense layer begins."""
    return At(op, tuple(range(replay.value(op.outputs[0]).ndim)))


def way_behind(replay: Replay, at: At) -> Iterator[At]:
    """Each operation that takes numbers further entry by entry."""
    while (following := _next(replay, at)) is not None:
        at = following
        yield at


def _next(replay: Replay, at: At) -> At | None:
    """One operation further, of the same layer before others; None where they are pooled or read on."""
    readers = replay.readers(at.buffer)
    entrywise = [r for r in readers if r.operator in STAGES]
    if entrywise:
        return At(min(entrywise, key=lambda r: r.layer != at.op.layer), at.axes)
    turns = [r for r in readers if r.operator == "transpose" and r.attrs["axes"][0] == 0]
    return At(turns[0], tuple(at.axes[axis] for axis in turns[0].attrs["axes"])) if turns else None
