"""Windows of convolutions and pools: pads of every spelling become pairs of pixels, or a word of a layer.

`auto_pad`, explicit pads, `ceil_mode` and `count_include_pad` are resolved here, for the sizes of the input,
to (before, after) on each axis. Where a layer says the same by a word it is that layer; else the pads are a
layer, or an argument, of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn import layers
from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.values import Followed, images_like
from kernelearn.engine.geometry import (
    output_size,
    resolve_padding,
)

Pair = tuple[int, int]
_LONGEST = 1 << 20  # pixels of a pad, a stride, a dilation
WINDOW = {
    "auto_pad": "NOTSET",
    "kernel_shape": None,
    "strides": None,
    "pads": None,
    "dilations": None,
}


class Window:
    """Where the windows of a node lie on an input."""

    def __init__(self, r: Reader, node: Node, a: dict[str, Any], x: Followed, size: Sequence[int]) -> None:
        rank = x.rank - 2
        if not 1 <= rank <= 3:
            r.refuse(node, f"inputs with {rank} axes of space are not read; 1 to 3 are")
        self.r, self.node, self.rank = r, node, rank
        self.size = tuple(size)
        if len(self.size) != rank or min(self.size) < 1:
            r.refuse(node, f"kernel_shape={list(size)} does not fit {x.shape}")
        self.strides = self._positive(a["strides"], "strides")
        self.dilations = self._positive(a["dilations"], "dilations")
        self.auto = a["auto_pad"]
        if self.auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            r.refuse(node, f"auto_pad={self.auto!r} is not known")
        self.pads = self._given(a["pads"])
        # Sizes of the axes of space as the ONNX value has them; None for an unknown one.
        self.sizes: tuple[int | None, ...] = x.shape[2:]

    def _positive(self, value: Any, name: str) -> tuple[int, ...]:
        if value is None:
            return (1,) * self.rank
        found = tuple(self.r.ints(self.node, value, name, self.rank))
        if min(found) < 1 or max(found) > _LONGEST:
            self.r.refuse(self.node, f"{name}={list(found)} must be positive, and at most {_LONGEST:,}")
        return found

    def _given(self, pads: Any) -> tuple[Pair, ...]:
        if pads is None:
            return ((0, 0),) * self.rank
        found = self.r.ints(self.node, pads, "pads", 2 * self.rank)
        if min(found) < 0 or max(found) > _LONGEST:
            self.r.refuse(self.node, f"pads={found} are not read")
        if self.auto != "NOTSET" and any(found):
            self.r.refuse(self.node, f"it has both auto_pad={self.auto!r} and pads={found}")
        return tuple(zip(found[: self.rank], found[self.rank :]))

    @property
    def axes(self) -> list[tuple[int, int, int]]:
        """(kernel, stride, dilation) of each axis."""
        return list(zip(self.size, self.strides, self.dilations))

    def known(self) -> tuple[int, ...]:
        """The sizes of the input, which must be known."""
        if any(size is None for size in self.sizes):
            self.r.refuse(self.node, "pads that depend on the size of the input, which the file leaves open")
        return tuple(int(size or 0) for size in self.sizes)

    def pairs(self) -> tuple[Pair, ...]:
        """The pads, (before, after) of each axis."""
        if self.auto in ("SAME_UPPER", "SAME_LOWER"):
            same = [resolve_padding("same", n, *axis) for n, axis in zip(self.known(), self.axes)]
            return tuple(pair if self.auto == "SAME_UPPER" else pair[::-1] for pair in same)
        return self.pads

    def word(self, pairs: Sequence[Pair]) -> str | None:
        """What a layer calls these pads; None if it has no word for them."""
        if not any(map(any, pairs)):
            return "valid"
        if any(size is None for size in self.sizes):
            is_same = all(
                s == 1 and pair == resolve_padding("same", 1 << 20, k, s, d)
                for pair, (k, s, d) in zip(pairs, self.axes)
            )
        else:
            is_same = all(
                pair == resolve_padding("same", n, *axis)
                for pair, n, axis in zip(pairs, self.known(), self.axes)
            )
        return "same" if is_same else None

    def check_outputs(self, pairs: Sequence[Pair]) -> None:
        for size, (k, s, d), pair in zip(self.sizes, self.axes, pairs):
            if size is not None and output_size(size, k, s, d, pair) < 1:
                self.r.refuse(self.node, f"its window does not fit into {self.sizes} with the pads {pairs}")


def padded(r: Reader, node: Node, x: Any, pairs: Sequence[Pair]) -> Any:
    """Zeros around the axes of space, as a layer."""
    if not any(map(any, pairs)):
        return x
    cls = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)[len(pairs) - 1]
    padding = tuple(map(tuple, pairs))
    return r.call(node, cls, [x], suffix="pad", padding=padding[0] if len(pairs) == 1 else padding)


def image(r: Reader, node: Node) -> tuple[Followed, Any]:
    """The input as a channels-last tensor."""
    x = r.followed(node)
    if not 3 <= x.rank <= 5:
        r.refuse(node, f"inputs with {x.rank} axes are not read; 3 to 5 are")
    tensor = r.ordered(node, x, images_like(x.rank))
    return Followed(tensor, images_like(x.rank)), tensor
