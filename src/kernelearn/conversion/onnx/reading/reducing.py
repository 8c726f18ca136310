"""Reductions, and functions along an axis: their axes are ours where the images are not among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernelearn import layers
from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.values import Followed
from kernelearn.layers import Softmax

# From which opset on the axes of a reduction are an input.
_AXES_ARE_INPUTS = {"ReduceSum": 13}


def _given_axes(r: Reader, node: Node, x: Followed) -> tuple[list[int], bool]:
    """Axes of the ONNX value and keepdims; no axes mean all, or none with noop_with_empty_axes."""
    since = _AXES_ARE_INPUTS.get(node.op_type, 18)
    a = r.options(node, axes=None, keepdims=1, noop_with_empty_axes=0)
    found = a["axes"] if r.opset < since else (r.numbers(node, 1, "axes") if r.has(node, 1) else None)
    if not found:
        found = [] if a["noop_with_empty_axes"] else list(range(x.rank))
    return sorted({r.axis(node, axis, x.rank) for axis in r.ints(node, found, "axes")}), bool(a["keepdims"])


def _after(x: Followed, axes: list[int], keepdims: bool) -> tuple[int, ...]:
    """The order of axes of what is left."""
    if keepdims:
        return x.order
    gone = {x.order[axis] for axis in axes}
    kept = [axis for axis in range(x.rank) if axis not in gone]
    return tuple(kept.index(axis) for axis in x.order if axis not in gone)


def reduction(function: str, before: str = "", after: str = "", layer: str = "") -> Callable[..., None]:
    """A function of ops over axes, another one before it and behind it; a layer where it is the whole map."""

    def rule(r: Reader, node: Node) -> None:
        x = r.unrowed(node, r.followed(node))
        axes, keepdims = _given_axes(r, node, x)
        own = r.own_axes(node, x, axes)
        if layer and 3 <= x.rank <= 5 and sorted(own) == list(range(1, x.rank - 1)):
            cls = getattr(layers, f"Global{layer}Pooling{x.rank - 2}D")
            y = r.call(node, cls, [x.tensor], keepdims=keepdims)
            r.give(node, Followed(y, _after(x, axes, keepdims)))
            return
        y = r.operation(node, before, x.tensor, suffix=before) if before else x.tensor
        if own:
            y = r.operation(node, function, y, axis=tuple(own), keepdims=keepdims)
        y = r.operation(node, after, y, suffix=after) if after else y
        r.give(node, Followed(y, _after(x, axes, keepdims)))

    return rule


def place(function: str) -> Callable[..., None]:
    """ArgMax and ArgMin: the first of equals."""

    def rule(r: Reader, node: Node) -> None:
        a = r.options(node, axis=0, keepdims=1, select_last_index=0)
        if a["select_last_index"]:
            r.refuse(node, "select_last_index=1 takes the last of equals")
        x = r.unrowed(node, r.followed(node))
        axis = r.axis(node, a["axis"], x.rank)
        (own,) = r.own_axes(node, x, [axis])
        y = r.operation(node, function, x.tensor, axis=own, keepdims=bool(a["keepdims"]))
        r.give(node, Followed(y, _after(x, [axis], bool(a["keepdims"]))))

    return rule


def _softmax_axes(r: Reader, node: Node, x: Followed) -> list[int]:
    """Our axes over which the exponentials are summed: before opset 13 all from `axis` on together."""
    axis = r.axis(node, r.options(node, axis=-1 if r.opset >= 13 else 1)["axis"], x.rank)
    axes = [axis] if r.opset >= 13 else list(range(axis, x.rank))
    return r.own_axes(node, x, axes)


def softmax(r: Reader, node: Node) -> None:
    x = r.followed(node)
    own = _softmax_axes(r, node, x)
    y = r.call(node, Softmax, [x.tensor], axis=own[0] if len(own) == 1 else sorted(own))
    r.give(node, Followed(y, x.order, x.row))


def log_softmax(r: Reader, node: Node) -> None:
    x = r.followed(node)
    own = _softmax_axes(r, node, x)
    if len(own) == 1:
        y = r.operation(node, "log_softmax", x.tensor, axis=own[0])
    else:
        total = r.operation(node, "logsumexp", x.tensor, axis=tuple(sorted(own)), keepdims=True, suffix="sum")
        y = r.operation(node, "subtract", x.tensor, total)
    r.give(node, Followed(y, x.order, x.row))


def cumsum(r: Reader, node: Node) -> None:
    a = r.options(node, exclusive=0, reverse=0)
    if a["exclusive"]:
        r.refuse(node, "exclusive=1 leaves out each number itself")
    x = r.unrowed(node, r.followed(node))
    (own,) = r.own_axes(node, x, [r.numbers(node, 1, "axis")[0]])
    y = x.tensor
    if a["reverse"]:
        y = r.operation(node, "flip", y, axis=own, suffix="flipped")
    y = r.operation(node, "cumsum", y, axis=own)
    if a["reverse"]:
        y = r.operation(node, "flip", y, axis=own, suffix="back")
    r.give(node, Followed(y, x.order))


def lp_normalization(r: Reader, node: Node) -> None:
    a = r.options(node, axis=-1, p=2)
    x = r.unrowed(node, r.followed(node))
    (own,) = r.own_axes(node, x, [a["axis"]])
    if a["p"] not in (1, 2):
        r.refuse(node, f"p={a['p']} is not known")
    if a["p"] == 1:
        size = r.operation(node, "abs", x.tensor, suffix="size")
        size = r.operation(node, "sum", size, axis=own, keepdims=True, suffix="norm")
    else:
        size = r.operation(node, "square", x.tensor, suffix="squares")
        size = r.operation(node, "sum", size, axis=own, keepdims=True, suffix="sum")
        size = r.operation(node, "sqrt", size, suffix="norm")
    r.give(node, Followed(r.operation(node, "divide", x.tensor, size), x.order))


RULES: dict[str, Any] = {
    "ReduceMean": reduction("mean", layer="Average"),
    "ReduceMax": reduction("max", layer="Max"),
    "ReduceMin": reduction("min"),
    "ReduceSum": reduction("sum"),
    "ReduceProd": reduction("prod"),
    "ReduceL1": reduction("sum", before="abs"),
    "ReduceL2": reduction("sum", before="square", after="sqrt"),
    "ReduceSumSquare": reduction("sum", before="square"),
    "ReduceLogSum": reduction("sum", after="log"),
    "ReduceLogSumExp": reduction("logsumexp"),
    "ArgMax": place("argmax"),
    "ArgMin": place("argmin"),
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "CumSum": cumsum,
    "LpNormalization": lp_normalization,
}
