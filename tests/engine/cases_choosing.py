"""Examples of operators that choose by numbers, sort, and add up what belongs together."""

import numpy as np

from tests.engine.helpers import Case

_rng = np.random.default_rng(8)


def _normal(*shape):
    return _rng.normal(size=shape).astype("float32").astype("float64")


def _numbers(size, *shape, dtype="int64"):
    """Some of them negative, some of them twice."""
    return _rng.integers(-size, size, shape).astype(dtype)


def _sums(values, indices, axis, shape):
    """A sum over the one-hot matrix of the numbers."""
    chosen = np.eye(shape[axis])[indices.reshape(-1)]
    flat = values.reshape(*values.shape[:axis], indices.size, *values.shape[axis + indices.ndim :])
    return np.moveaxis(np.tensordot(chosen, flat, axes=(0, axis)), 0, axis)


def _along(x, indices, axis):
    matrix = np.eye(x.shape[axis])[np.moveaxis(indices, axis, -1)]
    return np.moveaxis(np.einsum("...js,...s->...j", matrix, np.moveaxis(x, axis, -1)), -1, axis)


def _sums_along(values, indices, axis, size):
    matrix = np.eye(size)[np.moveaxis(indices, axis, -1)]
    return np.moveaxis(np.einsum("...js,...j->...s", matrix, np.moveaxis(values, axis, -1)), -1, axis)


def _set(x, indices, values):
    y = np.array(x)
    for i, value in zip(indices, values):
        y[i] = value
    return y


_TWICE = np.array([2, 0, -3, 2])

CHOOSING = [
    Case(
        "flat_index",
        (np.array([[1, -1], [0, 1]]), np.array([2, -4])),
        {"sizes": (2, 4)},
        lambda a, b, sizes: [[6, 4], [2, 4]],
        images=(),
    ),
    Case(
        "gather",
        (_normal(7, 3), _numbers(7, 4, 5)),
        {"axis": 0},
        lambda x, i, axis: x[i],
        terms=1,
        smooth=(0,),
        label="rows",
        images=(1,),
    ),
    Case(
        "gather",
        (_normal(2, 3, 7, 2), _numbers(7, 5, dtype="int32")),
        {"axis": 2},
        lambda x, i, axis: x[:, :, i],
        terms=1,
        smooth=(0,),
        label="inside",
        images=(0,),
    ),
    Case(
        "gather",
        (_normal(2, 7), _numbers(7, 3, 2)),
        {"axis": 1},
        lambda x, i, axis: x[:, i],
        terms=1,
        smooth=(0,),
        label="fixed",
        images=(),
    ),
    Case(
        "scatter_add",
        (_normal(4, 5, 3), _numbers(7, 4, 5)),
        {"axis": 0, "shape": (7, 3)},
        _sums,
        terms=20,
        smooth=(0,),
        label="rows",
        images=(0, 1),
    ),
    Case(
        "scatter_add",
        (_normal(40, 19), _numbers(37, 40, dtype="int32")),
        {"axis": 0, "shape": (37, 19)},
        _sums,
        terms=40,
        smooth=(0,),
        label="fixed",
        images=(),
    ),
    Case(
        "scatter_add",
        (_normal(2, 3, 5, 2), _numbers(7, 5)),
        {"axis": 2, "shape": (2, 3, 7, 2)},
        _sums,
        terms=5,
        smooth=(0,),
        label="inside",
        images=(0,),
    ),
    *[
        Case(
            "gather_along",
            (_normal(2, 4, 3), _numbers((2, 4, 3)[axis], *shape)),
            {"axis": axis},
            _along,
            terms=1,
            smooth=(0,),
            label=str(axis),
            images=(0, 1) if axis else (),
        )
        for axis, shape in ((0, (5, 4, 3)), (1, (2, 6, 3)), (2, (2, 4, 1)))
    ],
    *[
        Case(
            "scatter_add_along",
            (_normal(*shape), _numbers(4, *shape, dtype="int32")),
            {"axis": axis, "size": 4},
            _sums_along,
            terms=6,
            smooth=(0,),
            label=str(axis),
            images=(0, 1) if axis else (),
        )
        for axis, shape in ((0, (5, 4, 3)), (1, (2, 6, 3)), (2, (2, 4, 1)))
    ],
    Case("scatter_set", (_normal(5, 2), _TWICE, _normal(4, 2)), {}, _set, smooth=(0, 2), images=()),
    Case("is_last", (_TWICE,), {"size": 5, "dtype": "float64"}, lambda i, **a: [0.0, 1, 0, 1], images=()),
    Case(
        "segment_max",
        (_normal(5, 3), np.array([1, 0, 1, 0, 1])),
        {"count": 2},
        lambda x, s, count: [x[[1, 3]].max(0), x[[0, 2, 4]].max(0)],
        smooth=(0,),
        images=(),
    ),
    Case(
        "one_hot",
        (np.array([[0, 2], [-1, 1], [3, 2]]),),
        {"depth": 3, "dtype": "float32"},
        lambda i, **a: np.stack([i == c for c in range(3)], -1).astype(float),
        images=(0,),
    ),
    Case(
        "argsort",
        (np.array([[3.0, 1.0, 3.0, 2.0], [0.0, 5.0, 5.0, 5.0]]),),
        {"axis": 1, "descending": True},
        lambda x, **a: [[0, 2, 3, 1], [1, 2, 3, 0]],
    ),
    Case("argsort", (_normal(4, 3),), {"axis": 0}, lambda x, axis: np.argsort(x, 0), label="up", images=()),
    Case(
        "searchsorted",
        (np.array([1.0, 2.0, 2.0, 4.0]), np.array([[2.0, 0.0], [5.0, 3.0]])),
        {"side": "right"},
        lambda e, v, side: [[3, 0], [4, 3]],
        images=(1,),
    ),
    Case(
        "fill_like",
        (_normal(3, 2),),
        {"value": 1.5, "dtype": "float32"},
        lambda x, value, dtype: np.full((3, 2), value),
    ),
]
