"""Examples of functions that choose by numbers, sort, and add up; all are piecewise linear."""

import numpy as np

from tests.ops.example import NORMAL, Example

_rng = np.random.default_rng(9)
# Of a table with seven rows, of an axis with four entries, of three segments; some count from the end.
ROWS = _rng.integers(-7, 7, (6, 3)).astype("int32")
PLACES = _rng.integers(-4, 4, (6, 2, 5)).astype("int64")
SEGMENTS = np.array([2, 0, 1, 2, 0, 2], "int32")
TABLE = _rng.normal(size=(7, 4)).astype("float32")
INDEX = {"dtype": "int32"}


def _added(x, numbers, count):
    y = np.zeros((count, *x.shape[1:]), x.dtype)
    np.add.at(y, numbers, x)
    return y


def _set(x, numbers, rows):
    y = x.copy()
    for number, row in zip(numbers, rows):
        y[number] = row
    return y


def _largest(x, k):
    order = np.argsort(-x, -1, kind="stable")[..., :k]
    return np.take_along_axis(x, order, -1)


CHOOSING = [
    Example("take", lambda f, i: f(TABLE, i, axis=0), lambda i: TABLE[i], (ROWS,), label="rows"),
    Example("take", lambda f, x: f(x, [[2, 0], [-1, 2]], axis=1), lambda x: x[:, [[2, 0], [-1, 2]]]),
    Example("take", lambda f, x: f(x, 3, axis=2), lambda x: x[:, :, 3], label="one"),
    Example(
        "take",
        lambda f, x, i: f(x, i[:, 0], 0),
        lambda x, i: x[i[:, 0]],
        (NORMAL, SEGMENTS[:, None]),
        False,
        label="images",
    ),
    Example(
        "take", lambda f, x: f(x, [7, 100]), lambda x: x.ravel()[[7, 100]], is_batched=False, label="all"
    ),
    Example(
        "take_along_axis",
        lambda f, x, i: f(x, i, 1),
        lambda x, i: np.take_along_axis(x, i % 4, 1),
        (NORMAL, PLACES),
    ),
    Example(
        "take_along_axis",
        lambda f, x, i: f(x, i[:, :1, :3], -1),
        lambda x, i: np.take_along_axis(x, np.repeat(i[:, :1, :3] % 5, 4, 1), 2),
        (NORMAL, PLACES),
        label="broadcast",
    ),
    Example("one_hot", lambda f, i: f(i, 5), lambda i: np.eye(5)[i] * (i >= 0)[..., None], (ROWS % 5 - 1,)),
    Example(
        "one_hot",
        lambda f, i: f(i, 5, axis=1),
        lambda i: np.moveaxis(np.eye(5)[i], -1, 1),
        (ROWS % 5,),
        label="axis",
    ),
    Example("argsort", lambda f, x: f(x), lambda x: np.argsort(x, -1), **INDEX),
    Example(
        "argsort", lambda f, x: f(x, 0), lambda x: np.argsort(x, 0), is_batched=False, label="images", **INDEX
    ),
    Example("sort", lambda f, x: f(x, 1), lambda x: np.sort(x, 1)),
    Example("sort", lambda f, x: f(x, None), lambda x: np.sort(x, None), is_batched=False, label="all"),
    Example("top_k", lambda f, x: f(x, 2)[0], lambda x: _largest(x, 2)),
    Example("top_k", lambda f, x: f(x, 5)[1], lambda x: np.argsort(-x, -1), label="numbers", **INDEX),
    Example(
        "in_top_k",
        lambda f, i, x: f(i[:, 0], x[:, 0], 2),
        lambda i, x: np.array([(row > row[n]).sum() < 2 for n, row in zip(i[:, 0], x[:, 0])]),
        (ROWS % 5, NORMAL),
        dtype="bool",
    ),
    Example(
        "searchsorted",
        lambda f, x: f([-1.0, 0.0, 0.5], x),
        lambda x: np.searchsorted([-1.0, 0, 0.5], x),
        **INDEX,
    ),
    Example(
        "scatter",
        lambda f, i, x: f(i[:, :1], x, (7, 4, 5)),
        lambda i, x: _added(x, i[:, 0], 7),
        (ROWS % 3, NORMAL),
        False,
    ),
    Example(
        "scatter_update",
        lambda f, x: f(x, [[1, 2], [0, 3], [1, 2]], x[3:, 0]),
        lambda x: _set(x.reshape(24, 5), [6, 3, 6], x[3:, 0]).reshape(6, 4, 5),
        is_batched=False,
    ),
    Example(
        "segment_sum",
        lambda f, x, i: f(x, i[:, 0], 4),
        lambda x, i: _added(x, i[:, 0], 4),
        (NORMAL, SEGMENTS[:, None]),
        False,
    ),
    Example(
        "segment_max",
        lambda f, x, i: f(x, i[:, 0], 3),
        lambda x, i: np.stack([x[i[:, 0] == s].max(0) for s in range(3)]),
        (NORMAL, SEGMENTS[:, None]),
        False,
    ),
    Example(
        "segment_min",
        lambda f, x, i: f(x, i[:, 0], 3),
        lambda x, i: np.stack([x[i[:, 0] == s].min(0) for s in range(3)]),
        (NORMAL, SEGMENTS[:, None]),
        False,
    ),
    Example(
        "bincount",
        lambda f, i: f(i, minlength=7),
        lambda i: np.bincount(i.ravel(), minlength=7),
        (ROWS % 5,),
        False,
        **INDEX,
    ),
    Example(
        "bincount",
        lambda f, i, x: f(i, x[:, :3, 0], 7),
        lambda i, x: np.bincount(i.ravel(), x[:, :3, 0].ravel(), 7),
        (ROWS % 5, NORMAL),
        False,
        label="weights",
    ),
    Example("argpartition", lambda f, x: f(x, 2), lambda x: np.argsort(x, -1), **INDEX),
    Example("digitize", lambda f, x: f(x, [-1.0, 0.0, 0.5]), lambda x: np.digitize(x, [-1, 0, 0.5]), **INDEX),
    Example("isin", lambda f, i: f(i, [1, 4]), lambda i: np.isin(i, [1, 4]), (ROWS,), dtype="bool"),
    Example(
        "isin",
        lambda f, i: f(i, [1, 4], invert=True),
        lambda i: ~np.isin(i, [1, 4]),
        (ROWS,),
        dtype="bool",
        label="not",
    ),
    Example(
        "unravel_index",
        lambda f, i: f(i, (2, 4)),
        lambda i: np.unravel_index(i, (2, 4)),
        (ROWS % 8,),
        **INDEX,
    ),
    Example(
        "extract_sequences",
        lambda f, x: f(x, 3, 2),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, -1)[..., ::2, :],
    ),
    *[
        Example(
            "quantile",
            lambda f, x, a=axis, m=method: f(x, [0.0, 0.3, 0.65], a, m),
            lambda x, a=axis, m=method: np.quantile(x, [0.0, 0.3, 0.65], axis=a, method=m),
            is_batched=False,
            label=f"{axis} {method}",
        )
        for axis, method in (
            (None, "linear"),
            (1, "lower"),
            ((0, 2), "higher"),
            (-1, "nearest"),
            (2, "midpoint"),
        )
    ],
    Example("median", lambda f, x: f(x, (1, 2), True), lambda x: np.median(x, (1, 2), keepdims=True)),
    Example("percentile", lambda f, x: f(x, 40, 1), lambda x: np.percentile(x, 40, 1)),
    Example("diff", lambda f, x: f(x, 2), lambda x: np.diff(x, 2)),
    Example(
        "diff", lambda f, x: f(x, axis=0), lambda x: np.diff(x, axis=0), is_batched=False, label="images"
    ),
    Example(
        "select",
        lambda f, x: f([x > 1, x > 0], [x, 2 * x], -x),
        lambda x: np.select([x > 1, x > 0], [x, 2 * x], -x),
    ),
    Example("empty_like", lambda f, x: f(x), np.zeros_like),
    Example("zeros_like", lambda f, x: f(x), np.zeros_like),
    Example("ones_like", lambda f, x: f(x, "int32"), lambda x: np.ones(x.shape, "int32"), **INDEX),
    Example("full_like", lambda f, x: f(x, 2.5), lambda x: np.full_like(x, 2.5)),
    Example("array", lambda f, x: f(x), np.asarray),
    Example("convert_to_tensor", lambda f, x: f(x), np.asarray),
]
