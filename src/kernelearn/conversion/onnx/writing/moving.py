"""Operators that move, choose, join and reduce numbers, as nodes."""

from __future__ import annotations

import numpy as np

from kernelearn.conversion.onnx.writing.entrywise import Rule, cast
from kernelearn.conversion.onnx.writing.graph import Order, Writer, channels_first
from kernelearn.engine.program import Operation
from kernelearn.engine.reference.images.resizing import sampling_matrix
from kernelearn.engine.reference.shaping import resize_matrix

_FIRST = -(1 << 62)  # an end of a Slice that goes backwards and takes the first entry too


def same(w: Writer, op: Operation) -> None:
    w.alias(op.outputs[0], op.inputs[0])


def reshape(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    sizes = [-1 if size is None else size for size in op.attrs["shape"]]
    if sizes[:1] == [-1] and w.shape(x)[:1] == (None,):
        sizes[0] = 0
    w.give(op.outputs[0], w.node("Reshape", [w.want(x), w.integers(*sizes)]))


def transpose(w: Writer, op: Operation) -> None:
    """No node: the same value, its axes under other numbers."""
    (x,) = op.inputs
    order, axes = w.order(x), op.attrs["axes"]
    w.give(op.outputs[0], w.want(x, order), tuple(axes.index(axis) for axis in order))


def cut(w: Writer, op: Operation) -> None:
    """`slice` and `strided_slice`."""
    (x,) = op.inputs
    places = op.attrs.get("places") or [
        None if b is None else (b[0], b[1] - b[0], 1) for b in op.attrs["bounds"]
    ]
    order = w.order(x)
    chosen = [(order.index(axis), *place) for axis, place in enumerate(places) if place is not None]
    if not chosen:
        w.alias(op.outputs[0], x)
        return
    ends = [start + count * step for _, start, count, step in chosen]
    lists = (
        [start for _, start, _, _ in chosen],
        [end if end >= 0 else _FIRST for end in ends],
        [axis for axis, *_ in chosen],
        [step for *_, step in chosen],
    )
    y = w.node("Slice", [w.want(x, order), *(w.integers(*values) for values in lists)])
    w.give(op.outputs[0], y, order)


def broadcast_to(w: Writer, op: Operation) -> None:
    x, shape = op.inputs[0], op.attrs["shape"]
    sizes = [1 if size is None else size for size in shape]
    target = w.integers(*sizes)
    if None in shape and w.shape(x)[:1] != (None,):
        images = w.node("Shape", [w.want(op.inputs[1])], start=0, end=1)
        target = w.node("Concat", [images, w.integers(*sizes[1:])], axis=0) if sizes[1:] else images
    w.give(op.outputs[0], w.node("Expand", [w.want(x), target]))


def pad(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    order, pairs = w.order(x), op.attrs["padding"]
    turned = [pairs[axis] for axis in order]
    pads = w.integers(*[lo for lo, _ in turned], *[hi for _, hi in turned])
    y = w.node("Pad", [w.want(x, order), pads, w.number(op.attrs["value"])], mode="constant")
    w.give(op.outputs[0], y, order)


def concatenate(w: Writer, op: Operation) -> None:
    computed = [name for name in op.inputs if name not in w.known]
    order = w.order(computed[0])
    names = [w.want(name, order) for name in op.inputs]
    y = w.node("Concat", names, axis=order.index(op.attrs["axis"]))
    w.give(op.outputs[0], y, order)


# --- enlarging


def upsample(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    factors, method = op.attrs["factors"], op.attrs["method"]
    if method not in ("nearest", "bilinear"):
        matrices = [resize_matrix(s, f, method) for s, f in zip(w.shape(x)[1:-1], factors)]
        _by_matrices(w, op, matrices)
        return
    order = channels_first(w.rank(x))
    scales = w.constant(np.array([1, 1, *factors], np.float32))
    y = w.node("Resize", [w.want(x, order), "", scales], **_RESIZE[method])
    w.give(op.outputs[0], y, order)


def resize(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    method, sizes = op.attrs["method"], op.attrs["size"]
    matrices = [
        sampling_matrix(old, new, method, op.attrs["antialias"]) for old, new in zip(w.shape(x)[1:-1], sizes)
    ]
    _by_matrices(w, op, matrices, is_choice=method == "nearest")


_RESIZE = {
    "nearest": {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    },
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
}


def _by_matrices(w: Writer, op: Operation, matrices: list[np.ndarray], is_choice: bool = False) -> None:
    """On every axis of space a constant matrix times the pixels, which is what our engine computes."""
    (x,) = op.inputs
    rank = w.rank(x)
    order = w.order(x)
    name = w.want(x, order)
    for axis, matrix in enumerate(matrices, start=1):
        if is_choice:
            pixels = w.constant(matrix.argmax(axis=1).astype(np.int64))
            name = w.node("Gather", [name, pixels], axis=order.index(axis))
            continue
        turned = (*(a for a in order if a != axis), axis)
        moved = w.node("Transpose", [name], perm=[order.index(a) for a in turned])
        name = w.node("MatMul", [moved, w.constant(matrix.T.astype(w.dtype(x)))])
        order = turned
    assert len(order) == rank
    w.give(op.outputs[0], name, order)


# --- choosing


def gather(w: Writer, op: Operation) -> None:
    x, indices = op.inputs
    w.give(op.outputs[0], w.node("Gather", [w.want(x), w.want(indices)], axis=op.attrs["axis"]))


def gather_along(w: Writer, op: Operation) -> None:
    x, indices = op.inputs
    w.give(op.outputs[0], w.node("GatherElements", [w.want(x), w.want(indices)], axis=op.attrs["axis"]))


def one_hot(w: Writer, op: Operation) -> None:
    values = w.constant(np.array([0, 1], op.attrs["dtype"]))
    y = w.node("OneHot", [w.want(op.inputs[0]), w.integers(op.attrs["depth"]), values], axis=-1)
    w.give(op.outputs[0], y)


def fill_like(w: Writer, op: Operation) -> None:
    """The same number everywhere: repeated to the shape of the input."""
    (x,) = op.inputs
    number = w.number(op.attrs["value"], op.attrs["dtype"])
    w.give(op.outputs[0], w.node("Expand", [number, w.node("Shape", [w.want(x)])]))


# --- reductions


def _reduced(w: Writer, op: Operation, axes: tuple[int, ...]) -> tuple[Order, list[int], Order]:
    """The order of the input, the axes in it, and the order of the output."""
    order = w.order(op.inputs[0])
    places = [order.index(axis) for axis in axes]
    if op.attrs.get("keepdims"):
        return order, places, order
    kept = [axis for axis in order if axis not in axes]
    ranks = sorted(kept)
    return order, places, tuple(ranks.index(axis) for axis in kept)


def reduction(op_type: str) -> Rule:
    """A rule for a reduction over axes; of booleans as whole numbers."""

    def rule(w: Writer, op: Operation) -> None:
        (x,) = op.inputs
        order, places, after = _reduced(w, op, tuple(axis % w.rank(x) for axis in op.attrs["axes"]))
        is_bool = w.dtype(x) == "bool"
        name = cast(w, w.want(x, order), "int32") if is_bool else w.want(x, order)
        y = w.node(op_type, [name, w.integers(*places)], keepdims=int(op.attrs["keepdims"]))
        w.give(op.outputs[0], cast(w, y, "bool") if is_bool else y, after)

    return rule


def sum_to(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    axes = tuple(op.attrs["axes"])
    y = w.node("ReduceSum", [w.want(x), w.integers(*axes)], keepdims=1) if axes else w.want(x)
    sizes = [-1 if size is None else size for size in op.attrs["shape"]]
    w.give(op.outputs[0], w.node("Reshape", [y, w.integers(*sizes)]) if sizes else w.node("Squeeze", [y]))


def place(op_type: str) -> Rule:
    """argmax and argmin: the first of equals."""

    def rule(w: Writer, op: Operation) -> None:
        (x,) = op.inputs
        order, (axis,), after = _reduced(w, op, (op.attrs["axis"] % w.rank(x),))
        y = w.node(
            op_type,
            [w.want(x, order)],
            axis=axis,
            keepdims=int(op.attrs["keepdims"]),
            select_last_index=0,
        )
        w.give(op.outputs[0], cast(w, y, w.dtype(op.outputs[0])), after)

    return rule


def cumsum(w: Writer, op: Operation) -> None:
    (x,) = op.inputs
    axis = w.constant(np.array(op.attrs["axis"] % w.rank(x), np.int64))
    y = w.node("CumSum", [w.want(x), axis], exclusive=0, reverse=int(op.attrs["reverse"]))
    w.give(op.outputs[0], y)


def argsort(w: Writer, op: Operation) -> None:
    """All of an axis by TopK, which keeps the order of equals."""
    (x,) = op.inputs
    axis = op.attrs["axis"] % w.rank(x)
    y = w.second(
        "TopK",
        [w.want(x), w.integers(int(w.shape(x)[axis] or 0))],
        axis=axis,
        largest=int(op.attrs["descending"]),
        sorted=1,
    )
    w.give(op.outputs[0], cast(w, y, w.dtype(op.outputs[0])))


def image_count(w: Writer, op: Operation) -> None:
    sizes = w.node("Shape", [w.want(op.inputs[0])], start=0, end=1)
    w.give(op.outputs[0], cast(w, w.node("Squeeze", [sizes]), op.attrs["dtype"]))
