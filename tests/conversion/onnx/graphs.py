"""Small ONNX graphs, made by hand, and the numbers that they must give, by loops."""

import itertools

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from kernelearn.conversion.onnx import from_onnx
from tests.conversion.onnx.backend import predicted
from tests.rounding import assert_same_but_for_rounding

RNG = np.random.default_rng(3)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def model(nodes, shape, weights=None, opset=18, outputs=("y",), dtype=TensorProto.FLOAT, batch="n"):
    """A graph from an input `x`, whose first size is open, through nodes to outputs."""
    sizes = [batch, *shape[1:]]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", dtype, sizes)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op_type, *inputs, name="", outputs=("y",), **attrs):
    return helper.make_node(op_type, list(inputs), list(outputs), name=name, **attrs)


def single(op_type, x, weights=(), opset=18, batch="n", **attrs):
    """A graph of one node that reads x and these arrays; None leaves an input out."""
    names = [None if array is None else f"w{i}" for i, array in enumerate(weights)]
    made = node(op_type, "x", *[name or "" for name in names], **attrs)
    given = {name: array for name, array in zip(names, weights) if name}
    return model([made], x.shape, given, opset, batch=batch)


def result(proto, x):
    """What the network that is read gives, with the axes of the file."""
    return predicted(from_onnx(proto), {"x": x})[0]


def check(proto, x, expected, terms=100):
    assert_same_but_for_rounding(result(proto, x), expected, terms)


# --- by loops


def windows(x, kernel, strides, pads, dilations, counts, border):
    """(n, c, *counts, *kernel): what lies under every window of x (n, c, *space), `border` outside."""
    rank = len(kernel)
    reach = [max(0, (c - 1) * s + (k - 1) * d + 1) for c, s, k, d in zip(counts, strides, kernel, dilations)]
    wide = np.full(
        (*x.shape[:2], *[max(r, n + lo) for r, n, (lo, _) in zip(reach, x.shape[2:], pads)]), border
    )
    place = tuple(slice(lo, lo + n) for (lo, _), n in zip(pads, x.shape[2:]))
    wide[(slice(None), slice(None), *place)] = x
    found = np.empty((*x.shape[:2], *counts, *kernel))
    for at in itertools.product(*map(range, counts)):
        for tap in itertools.product(*map(range, kernel)):
            pixel = tuple(a * s + t * d for a, s, t, d in zip(at, strides, tap, dilations))
            found[(slice(None), slice(None), *at, *tap)] = wide[(slice(None), slice(None), *pixel)]
    assert rank == len(counts)
    return found


def same_pads(sizes, kernel, strides, dilations, is_upper):
    pads = []
    for n, k, s, d in zip(sizes, kernel, strides, dilations):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if is_upper else (more, less))
    return pads


def count(n, k, s, d, pad, is_ceil=False):
    """Windows on an axis; in ceil mode one that would begin in the padding behind is left out."""
    room = n + sum(pad) - (k - 1) * d - 1
    if not is_ceil:
        return room // s + 1
    found = -(-room // s) + 1
    return found - 1 if (found - 1) * s >= n + pad[0] else found


def conv(x, w, b=None, strides=None, pads=None, dilations=None, group=1):
    rank = w.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pads = pads or [(0, 0)] * rank
    counts = [count(*axis) for axis in zip(x.shape[2:], w.shape[2:], strides, dilations, pads)]
    seen = windows(x.astype(float), w.shape[2:], strides, pads, dilations, counts, 0.0)
    parts = []
    for seen_part, w_part in zip(np.split(seen, group, 1), np.split(w.astype(float), group, 0)):
        axes = (1, *range(2 + rank, 2 + 2 * rank))
        parts.append(np.tensordot(seen_part, w_part, (axes, tuple(range(1, 2 + rank)))))
    y = np.moveaxis(np.concatenate(parts, -1), -1, 1)
    return y if b is None else y + b.reshape(-1, *[1] * rank)


def conv_transpose(x, w, sizes, strides, begins, dilations, group=1):
    """Every pixel lays its kernel down; `begins` pixels are cut off in front, and what is beyond sizes."""
    rank = w.ndim - 2
    room = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], strides, w.shape[2:], dilations)]
    wide = [max(r, b + size) for r, b, size in zip(room, begins, sizes)]
    per = w.shape[1]
    y = np.zeros((x.shape[0], per * group, *wide))
    for g, (xs, ws) in enumerate(zip(np.split(x, group, 1), np.split(w, group, 0))):
        for at in itertools.product(*map(range, x.shape[2:])):
            for tap in itertools.product(*map(range, w.shape[2:])):
                pixel = tuple(a * s + t * d for a, s, t, d in zip(at, strides, tap, dilations))
                value = (
                    xs[(slice(None), slice(None), *at)].astype(float) @ ws[(slice(None), slice(None), *tap)]
                )
                y[(slice(None), slice(g * per, (g + 1) * per), *pixel)] += value
    assert rank == len(sizes)
    cut = tuple(slice(b, b + size) for b, size in zip(begins, sizes))
    return y[(slice(None), slice(None), *cut)]


def pool(x, kernel, strides, pads, dilations, is_ceil, kind, counts_pads=False):
    rank = len(kernel)
    counts = [count(*axis, is_ceil) for axis in zip(x.shape[2:], kernel, strides, dilations, pads)]
    border = -np.inf if kind == "max" else 0.0
    seen = windows(x.astype(float), kernel, strides, pads, dilations, counts, border)
    axes = tuple(range(2 + rank, 2 + 2 * rank))
    if kind == "max":
        return seen.max(axes)
    one = np.ones_like(x, dtype=float)
    if counts_pads:
        one = np.pad(one, [(0, 0), (0, 0), *pads], constant_values=1.0)
        pads = [(0, 0)] * rank
    return seen.sum(axes) / windows(one, kernel, strides, pads, dilations, counts, 0.0).sum(axes)
